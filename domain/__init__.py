"""Pure rules: no I/O, clock, randomness or settings; the standard library and msgspec only."""
