"""The program `trackarr`."""
