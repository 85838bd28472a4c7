"""Commands, and what follows from events."""
