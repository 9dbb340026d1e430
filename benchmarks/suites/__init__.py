"""What is asked: suites, and how they become runs."""
