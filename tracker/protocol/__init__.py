"""Wire formats: pure functions between bytes and objects."""
