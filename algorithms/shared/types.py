"""The frozen data that passes between the stages of an update.

Axes, by the letters that end a name:

    P  prompts of an update            B  completions (rows), P * group size
    T  completion tokens, right-padded L  prompt and completion tokens, right-padded
    S  prompt tokens, left-padded      N  real completion tokens of some rows, flattened
    M  real tokens of some rows, prompts once, flattened
    V  vocabulary                      H  hidden size

`mask_BT` is True on every token the policy sampled, the end token included, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from ppo_vs_grpo.tasks.base import Problem


class Fields(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Data = TypeVar("Data", bound=Fields)


def moved(data: Data, device: torch.device | str) -> Data:
    """The same data with all its tensors, nested ones included, on the device."""

    def there(value: object) -> object:
        if isinstance(value, Tensor):
            return value.to(device)
        if isinstance(value, Mapping):
            return {key: there(inner) for key, inner in value.items()}
        return moved(value, device) if is_dataclass(value) and not isinstance(value, type) else value

    return replace(data, **{one.name: there(getattr(data, one.name)) for one in fields(data)})


@dataclass(frozen=True, slots=True)
class Prompts:
    """P problems and their token ids."""

    problems: tuple[Problem, ...]
    ids: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Rollouts:
    """B completions of P prompts.

    `group_B` is the index of each row's prompt. `logp_BT` is the log-probability under the sampling policy at
    the sampling temperature, 0 outside the mask. `sampler_logp_BT` is that under the distribution drawn from, which
    differs if the sampler is truncated. `ended_B` is the finish reason: True for the end token, False for the limit
    of `max_tokens`.
    """

    prompts: Prompts
    group_B: Tensor
    completion_BT: Tensor
    mask_BT: Tensor
    logp_BT: Tensor
    sampler_logp_BT: Tensor
    ended_B: Tensor
    max_tokens: int

    def rows(self, index: Tensor | slice) -> Rollouts:
        """The rows at `index`, in that order."""
        rows = {name: getattr(self, name)[index] for name in _names(self) if name not in ("prompts", "max_tokens")}
        return replace(self, **rows)


@dataclass(frozen=True, slots=True)
class ScoredRollouts:
    """Rollouts with a reward per row (NaN: missing), whether it passed, and the reward's parts."""

    rollouts: Rollouts
    rewards_B: Tensor
    passed_B: Tensor
    parts: Mapping[str, Tensor]

    def rated(self) -> ScoredRollouts:
        """The rows that have a reward."""
        has_B = ~self.rewards_B.isnan()
        if bool(has_B.all()):
            return self
        return self.rows(has_B.nonzero()[:, 0])

    def rows(self, index: Tensor) -> ScoredRollouts:
        """The rows at `index`, in that order."""
        parts = {name: part_B[index] for name, part_B in self.parts.items()}
        return ScoredRollouts(self.rollouts.rows(index), self.rewards_B[index], self.passed_B[index], parts)


@dataclass(frozen=True, slots=True)
class Context:
    """What the models say of the rollouts before the update; None for what the algorithm does not use.

    `values_BT` is V before each token, from a critic or from fresh continuations. `bootstrap_B` is the critic's V
    after the last token of a completion cut at the length limit, and 0 for one that ended.
    """

    reference_logp_BT: Tensor | None
    values_BT: Tensor | None
    bootstrap_B: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Advantages:
    """The learning signal per token, and the critic's targets if there is a critic.

    `metrics` are numbers that the algorithm says of the batch, by the column's name; the same names in every update.
    """

    advantages_BT: Tensor
    returns_BT: Tensor | None
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """All that a loss may read about some rows. It does not change during the update."""

    mask_BT: Tensor
    logp_old_BT: Tensor
    advantages_BT: Tensor
    reference_logp_BT: Tensor | None
    values_old_BT: Tensor | None
    returns_BT: Tensor | None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """Those of the advantages, of the whole batch."""

    def rows(self, index: Tensor, tokens: int) -> Batch:
        """The rows at `index`, cut to the first `tokens` columns."""
        given = {name: getattr(self, name) for name in _names(self)}
        cut: dict[str, Any] = {name: t[index, :tokens] for name, t in given.items() if isinstance(t, Tensor)}
        return replace(self, **cut)


@dataclass(frozen=True, slots=True)
class PolicyOutput:
    """Outputs of the models in training for a batch: 0 outside the mask. The entropy has no gradient.

    `reference_kl_BT` is KL(reference || policy) over the whole vocabulary, if an algorithm needs it.
    """

    logp_BT: Tensor
    entropy_BT: Tensor
    values_BT: Tensor | None
    reference_kl_BT: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Denominators:
    """Counts over the whole optimizer step, so that a loss does not depend on its micro-batches.

    `max_tokens` is the longest completion that a row could have had.
    """

    tokens: int
    rows: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class LossOutput:
    """The two terms of a loss, scalars. The step descends their sum."""

    policy: Tensor
    value: Tensor | None


def from_critic(tensor: Tensor | None) -> Tensor:
    """The tensor that only a critic provides; raises ValueError if it is None."""
    return _there(tensor, "a critic, and the run has none")


def from_reference(tensor: Tensor | None) -> Tensor:
    """The tensor that only the reference model provides; raises ValueError if it is None."""
    return _there(tensor, "the exact KL to the reference, and it was not computed")


def from_continuations(tensor: Tensor | None) -> Tensor:
    """The tensor that only fresh continuations provide; raises ValueError if it is None."""
    return _there(tensor, "Monte Carlo values, and no continuations were sampled")


def _there(tensor: Tensor | None, what: str) -> Tensor:
    if tensor is None:
        raise ValueError(f"this algorithm needs {what}")
    return tensor


def _names(data: Rollouts | Batch) -> list[str]:
    return [f.name for f in fields(data)]
