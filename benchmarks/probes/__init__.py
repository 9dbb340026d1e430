"""Measurements of a frozen policy. Their time is never training time.

rows.py           a run's probes as rows
gradient.py       gradient noise by estimator
noise.py          statistics of independent gradients
continuations.py  true values: fresh completions from prefixes
prefixes.py       places in completions, and the rewards of what follows them
baselines.py      the variance that each baseline leaves; the break-even group size
critic.py         the error of a critic
ranking.py        rank agreement of log-probability and reward
estimates.py      a number and its jackknife error
"""

from pydantic import Field

from ppo_vs_grpo.algorithms.shared.config import Frozen


class ProbeConfig(Frozen):
    """Measurements of the policy at the start, the middle and the end of a run, outside training time.

    Gradient noise is measured on `prompts` groups of completions, its direction against `reference_prompts` other
    groups. Values and baselines are measured by `continuations` fresh completions from each of the prompts and from
    `prefixes` places of each completion.
    """

    prompts: int = Field(16, ge=2)
    reference_prompts: int = Field(48, ge=2)
    continuations: int = Field(8, ge=2)
    prefixes: int = Field(2, ge=1)
