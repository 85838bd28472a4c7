"""Running the product: settings, wiring, processes, commands."""
