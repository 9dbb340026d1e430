"""Exact results, with nothing sampled.

enumeration.py  a token MDP small enough to write down
variance.py     the exact variance of the policy gradient by baseline (variance.csv)
"""
