"""Memory, operations and seconds of an update.

memory.py        storages by role and phase
tracked.py       a trainer whose storages are watched
flops.py         operations by phase
trace.py         torch.profiler around updates
roofline.py      phases beside their matrix products alone
predict.py       an update on fake tensors
work.py          the update that a prediction is about
shapes.py        the models that a prediction is about (shapes.yaml)
fake.py          fake tensors
decode_steps.py  two decode steps that stand for all
closed_form.py   memory and operations by arithmetic
activations.py   activations by arithmetic
decoder.py       the shape of a Llama-like decoder
table.py         the answer of `predict`
"""
