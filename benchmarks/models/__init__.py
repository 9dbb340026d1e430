"""Models that runs start from.

store.py   start models by name and task: found, hashed, built once
saved.py   models that were saved by somebody
tiny.py    shapes, tokenizer and random weights of the models made here
taught.py  a warm start from demonstrations
blank.py   random weights, with completions of a given length
reward.py  reward models of learned tasks, and the judges of any task
pairs.py   reward models taught from pairs
judge.py   reward models as judges
"""
