"""How a suite is run."""
