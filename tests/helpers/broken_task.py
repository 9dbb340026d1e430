"""A user's file that cannot be imported."""

raise RuntimeError("the data file is missing")
