"""What decides about a reading: its place on the grid, its wave, its tick."""
