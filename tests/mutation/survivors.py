"""The mutants that no test can or need catch, each with the reason."""

from __future__ import annotations

from typing import NamedTuple


class Survivor(NamedTuple):
    """A mutant by its key, lines without the indent, and why it may live."""

    file: str
    function: str
    line: str
    mutated: str
    reason: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """As of `Mutant.key`."""
        return self.file, self.function, self.line, self.mutated


SURVIVORS: tuple[Survivor, ...] = (
    Survivor(
        "losses.py",
        "clipped",
        "gain_BT = torch.where(advantages_BT < 0, torch.maximum(gain_BT, clip.dual * advantages_BT), gain_BT)",
        "gain_BT = torch.where(advantages_BT <= 0, torch.maximum(gain_BT, clip.dual * advantages_BT), gain_BT)",
        "at A = 0 both sides are 0, and their gradients too",
    ),
    Survivor(
        "update.py",
        "_accumulate",
        "learner.optimizer.zero_grad(set_to_none=True)",
        "learner.optimizer.zero_grad(set_to_none=False)",
        "memory only: the critic's first steps come before the policy has any gradient to leave at 0",
    ),
    Survivor(
        "update.py",
        "_accumulate",
        'finite = np.isfinite(means["policy_loss"] + means.get("value_loss", 0.0))',
        'finite = np.isfinite(means["policy_loss"] - means.get("value_loss", 0.0))',
        "a difference is finite where a sum is: where both are",
    ),
    Survivor(
        "update.py",
        "_accumulate",
        'finite = np.isfinite(means["policy_loss"] + means.get("value_loss", 0.0))',
        'finite = np.isfinite(means["policy_loss"] + means.get("value_loss", 1.0))',
        "1 is as finite as 0",
    ),
    Survivor(
        "rollout.py",
        "HuggingFaceEngine.generate",
        "break",
        "continue",
        "without a row to go on with, the rest of the loop writes nothing",
    ),
    Survivor(
        "rollout.py",
        "HuggingFaceEngine.generate",
        "if count <= COMPACT_BELOW * len(live):",
        "if count < COMPACT_BELOW * len(live):",
        "when finished rows leave the batch is a matter of speed alone",
    ),
    Survivor(
        "collecting.py",
        "Collector.values",
        "break",
        "continue",
        "where no row has a token, none has one later",
    ),
    Survivor(
        "collecting.py",
        "joined",
        "rollouts=Rollouts(prompts=prompts, max_tokens=parts[0].rollouts.max_tokens, **tensors),",
        "rollouts=Rollouts(prompts=prompts, max_tokens=parts[1].rollouts.max_tokens, **tensors),",
        "every draw has the same limit",
    ),
)
