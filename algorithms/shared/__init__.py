"""The parts that every algorithm shares.

config.py      shared settings, what an algorithm needs, and the phases of training time
types.py       frozen data between the stages of an update, and the legend of axes
advantages.py  how rewards become a learning signal: pure formulas
losses.py      losses per token, KL estimators, and ways to add tokens up: pure formulas
prompts.py     problems as token ids: chat template, special tokens
scoring.py     rollouts scored by a task
metrics.py     metrics of rollouts and critic
meters.py      seconds and peak memory of each phase
networks/      policy, critic and reference, and how they read sequences
rollout/       sampling of completions
collector.py   prompts drawn, completed, scored and continued
checkpoint.py  a run between two updates, as tensors and numbers
agreement.py   whether sampler and update read a model as it reads itself
update.py      one update: epochs, mini-batches, micro-batches, optimizer steps
trainer.py     the training loop
"""
