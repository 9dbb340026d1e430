"""Sampling of completions.

ends.py      which tokens end a completion
stops.py     texts that end a completion
engine.py    RolloutEngine, and the one that samples in process
decoding.py  a batch that is being decoded
cache.py     key/value caches that are written in place
"""
