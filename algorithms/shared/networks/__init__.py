"""Networks: policy, critic and reference, and how they read sequences."""
