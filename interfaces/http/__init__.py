"""REST over the read models and the commands."""
