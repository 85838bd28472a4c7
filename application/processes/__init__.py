"""What follows from an event: one module each, named effect_on_cause."""
