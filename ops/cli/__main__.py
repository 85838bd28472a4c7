"""`python -m ops.cli` is the program `trackarr`."""

from ops.cli import main

main()
