"""Datasets that the field shares, with their columns and the wording of their prompts.

gsm8k  Cobbe et al. 2021, "Training verifiers to solve math word problems", arXiv 2110.14168
math   Hendrycks et al. 2021, "Measuring mathematical problem solving with the MATH dataset", arXiv 2103.03874

Each is `Dataset` with other defaults. `source` may name files of the same columns.
"""

from __future__ import annotations

from functools import partial

from ppo_vs_grpo.tasks.dataset import Dataset

gsm8k = partial(
    Dataset,
    name="gsm8k",
    source="openai/gsm8k",
    config="main",
    prompt="{question}\nReason step by step. Write the final answer, a number, on a last line after ####.",
    answer="answer",
    marked=True,
    reward="number",
    max_new_tokens=512,
)
gsm8k.__doc__ = "The word problems of GSM8K; the final number counts."

math = partial(
    Dataset,
    name="math",
    source="DigitalLearningGmbH/MATH-lighteval",
    config="default",
    prompt="{problem}\nReason step by step. Put the final answer into \\boxed{{}}.",
    answer="solution",
    marked=True,
    reward="math",
    stratum="level",
    max_new_tokens=1024,
)
math.__doc__ = "The competition problems of MATH; the final answer counts, by math-verify."
