"""What may be said of results."""
