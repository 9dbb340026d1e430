"""Statistics of numpy arrays."""
