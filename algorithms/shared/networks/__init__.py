"""Policy, critic and reference, and how they read sequences.

loading.py     a start model from its folder, without towers
models.py      the networks of a run, and their outputs
adapters.py    LoRA adapters
sequences.py   prompt and completion joined, cut into micro-batches, packed
attention.py   attention over packed tokens
vocabulary.py  the tokens that a policy may say
likelihood.py  log-probabilities in chunks of bounded size
precision.py   matrix products in bfloat16
"""
