"""What runs start from."""
