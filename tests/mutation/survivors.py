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
        "rollout/decoding.py",
        "takes_places",
        "return all(type(layer) is StaticLayer for layer in StaticCache(config=model.config, max_cache_len=1).layers)",
        "return all(type(layer) is StaticLayer for layer in StaticCache(config=model.config, max_cache_len=0).layers)",
        "the layers of this cache are looked at and never used",
    ),
    Survivor(
        "rollout/decoding.py",
        "PlacesDecoder.prefill",
        "self._columns_bC = torch.zeros_like(columns_uC[:1]).repeat(self._places, 1)",
        "self._columns_bC = torch.ones_like(columns_uC[:1]).repeat(self._places, 1)",
        "a row is started in every place before any is read",
    ),
    Survivor(
        "rollout/decoding.py",
        "PlacesDecoder.prefill",
        "self._column_b: Tensor = self._layers[0].column_b",
        "self._column_b: Tensor = self._layers[1].column_b",
        "one tensor, of all layers in common",
    ),
    Survivor(
        "rollout/decoding.py",
        "PlacesDecoder.step",
        "return logits if self._room is None else logits.clone()  # the next replay of a graph writes over it",
        "return logits if self._room is not None else logits.clone() # the next replay of a graph writes over it",
        "there are graphs to replay on CUDA alone; elsewhere a clone is as good",
    ),
    Survivor(
        "collector.py",
        "Collector.values",
        "break",
        "continue",
        "where no row has a token, none has one later",
    ),
    Survivor(
        "collector.py",
        "joined",
        "rollouts=Rollouts(prompts=prompts, max_tokens=parts[0].rollouts.max_tokens, **tensors),",
        "rollouts=Rollouts(prompts=prompts, max_tokens=parts[1].rollouts.max_tokens, **tensors),",
        "every draw has the same limit",
    ),
    Survivor(
        "networks/attention.py",
        "inputs",
        "unread = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=ids_M.device)",
        "unread = torch.ones((0, 1, 1, 1), dtype=torch.bool, device=ids_M.device)",
        "of this mask only the number of dimensions counts",
    ),
    Survivor(
        "networks/attention.py",
        "attention",
        "joined_Zhe = torch.cat(done) if len(done) > 1 else done[0]",
        "joined_Zhe = torch.cat(done) if len(done) > 0 else done[0]",
        "one block joined to nothing is a copy of it: a matter of speed alone",
    ),
    Survivor(
        "networks/sequences.py",
        "_by_length",
        "order = rows[torch.argsort(tokens_B[rows], descending=True, stable=True)]",
        "order = rows[torch.argsort(tokens_B[rows], descending=True, stable=False)]",
        "torch sorts stably on a CPU in either case; elsewhere it does not",
    ),
    Survivor(
        "networks/likelihood.py",
        "_Output.log_probs",
        "logits_nV = self.model(input_ids=ids_n[None], use_cache=False).logits[0]",
        "logits_nV = self.model(input_ids=ids_n[None], use_cache=True).logits[0]",
        "the trunk, which would make the cache, is replaced during the call",
    ),
)
