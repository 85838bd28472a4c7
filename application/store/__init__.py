"""The event log, the vault and the keys: the only code that knows the event-store library."""
