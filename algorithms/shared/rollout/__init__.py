"""Rollout: completions sampled from a policy."""
