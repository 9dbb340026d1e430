"""Weights & Biases: records sent there beside a suite. The files in results/ stay the truth."""
