"""What every algorithm shares: data, rollout, scoring, losses, models, and the one training loop."""
