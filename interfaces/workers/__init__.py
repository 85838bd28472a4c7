"""Dramatiq actors and the loops beside them; the only code that knows Dramatiq."""
