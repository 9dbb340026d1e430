"""What an update takes: memory, operations, seconds."""
