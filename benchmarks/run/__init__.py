"""How a suite is run.

- runner.py: what of a suite is to be run; the lock before and after
- passes.py: start models, training, timing, throughput
- worker.py: one process, one run
- trainers.py: the trainer that a run asks for, ours or a peer's
- attempts.py: which runs begin again, and what a run keeps of the attempts before
- heartbeat.py: a run's sign of life
- checkpoints.py: what a training run needs to go on after a kill
- policies.py: the networks that a run ended with, as folders
- context.py: whether a task's prompts fit a start model
- evaluate.py: held-out evaluation
- state.py: one run as the runner sees it
- writing.py: the runner's own files, when they cannot be written
- progress.py: the live board
- throughput.py: short runs side by side
- machine.py: versions, hardware, commit; cores, and how busy others keep them
- device.py: on the CPU or on an accelerator
- doctor.py: can this machine run a suite?
- slots.py: how many runs go at a time: cores, and what the memory holds
- engines/: who starts the processes
"""
