"""Weights & Biases: records sent there beside a suite. The files in results/ stay the truth.

- beside.py: start and end the process beside a suite
- account.py: what is mirrored already
- course.py: a growing run as wandb wants it
- __main__.py: the process
"""
