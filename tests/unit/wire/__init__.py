"""The wire in memory: each part alone."""
