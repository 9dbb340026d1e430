"""Who starts the processes."""
