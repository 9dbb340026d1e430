"""Probes: measurements on a frozen policy, whose time is never training time."""

from pydantic import Field

from ppo_vs_grpo.algorithms.shared.config import Frozen


class ProbeConfig(Frozen):
    """Measurements of the policy at the start, the middle and the end of a run, outside of training time.

    Gradient noise on `prompts` groups of completions, its direction against `reference_prompts` other groups; value and
    baselines by `continuations` fresh completions from each of the prompts and from `prefixes` places of each
    completion.
    """

    prompts: int = Field(16, ge=2)
    reference_prompts: int = Field(48, ge=2)
    continuations: int = Field(8, ge=2)
    prefixes: int = Field(2, ge=1)
