"""The event log: the only code that knows the event-store library."""
