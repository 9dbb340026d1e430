"""Results as pandas frames."""
