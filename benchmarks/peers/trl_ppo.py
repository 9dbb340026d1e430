"""TRL's PPOTrainer as an arm. The last release with one is 1.12.0.

It differs from `algorithms/ppo.py` with a separate critic:
- The reward comes one step after the end token, if that step fits, and the step counts in the value loss
  (tests/algorithms/test_trl_ppo.py compares both on one batch).
- Policy and critic share an optimizer, and the gradient's norm is not bounded.
- Random numbers, and so completions, differ.
- The learning rate rises from 0, one update behind ours.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ppo_vs_grpo.benchmarks.peers.trainer import QUIET, PeerTrainer, Report, UpdateSteps, micro_batch_rows
from ppo_vs_grpo.tasks.errors import UserError

if TYPE_CHECKING:
    from trl.experimental.ppo import PPOConfig


def loop(peer: PeerTrainer, folder: Path, report: Report) -> None:
    """Run TRL's trainer on the suite's prompts, with the suite's reward as its reward model."""
    try:
        with warnings.catch_warnings():  # that it is experimental
            warnings.simplefilter("ignore")
            from trl.experimental.ppo import PPOTrainer
    except ImportError as error:
        raise UserError(f"trl-ppo: TRL is not installed, or a release without PPO; 1.12.0 has it: {error}") from None
    from datasets import Dataset

    if peer.tokenizer.pad_token_id in (None, peer.tokenizer.eos_token_id):
        raise UserError("trl-ppo: TRL takes every pad token for padding, so it must not be the end token")
    queries = [list(ids) for ids in peer.prompts.ids for _ in range(peer.train.group_size)]
    # TRL's annotations ask for PreTrainedModels; its code does not need them.
    networks: dict[str, Any] = {"reward_model": RewardRule(peer), "value_model": Critic(peer.policy)}
    built: Any = PPOTrainer(
        args=_arguments(peer, folder),
        processing_class=peer.tokenizer,
        model=peer.policy,
        ref_model=copy.deepcopy(peer.policy),
        train_dataset=Dataset.from_dict({"input_ids": queries}),
        callbacks=[UpdateSteps(peer, report, per_update=1)],
        **networks,
    )
    size = peer.train.batch_completions  # its own loader shuffles
    built.dataloader = [
        peer.tokenizer.pad({"input_ids": queries[at : at + size]}, padding_side="left", return_tensors="pt")
        for at in range(0, len(queries), size)
    ]
    built.train()


def _arguments(peer: PeerTrainer, folder: Path) -> PPOConfig:
    """The arm's settings under TRL's names."""
    from trl.experimental.ppo import PPOConfig

    train, config = peer.train, peer.algorithm.config.model_dump()
    rows = train.batch_completions
    if train.mini_batches == 1:  # with more, its optimizer would step once an epoch whatever it is told
        rows = micro_batch_rows(rows, peer.width, train.micro_batch_tokens)
    return PPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=train.batch_completions // rows,
        num_mini_batches=train.mini_batches,
        num_ppo_epochs=train.epochs,
        total_episodes=train.updates * train.batch_completions,
        local_rollout_forward_batch_size=train.batch_completions,
        num_sample_generations=0,
        response_length=peer.max_new_tokens,
        stop_token="eos",
        temperature=train.temperature,
        learning_rate=train.learning_rate,
        warmup_steps=round(train.warmup_completions / train.batch_completions),
        kl_coef=train.beta,
        cliprange=train.clip_low,
        cliprange_value=config["value_clip"],
        vf_coef=config["value_coef"],
        gamma=config["gamma"],
        lam=config["lam"],
        seed=peer.seed,
        use_cpu=peer.device.type == "cpu",
        **QUIET,
    )


class Critic(nn.Module):
    """A copy of the start model's trunk under a head that starts at zero, in the form that TRL expects."""

    base_model_prefix = "trunk"

    def __init__(self, policy: PreTrainedModel) -> None:
        super().__init__()
        self.trunk = copy.deepcopy(policy.base_model)
        self.score = nn.Linear(policy.config.hidden_size, 1, bias=False)
        nn.init.zeros_(self.score.weight)


class RewardRule(nn.Module):
    """A reward rule in the form of a model: the backbone passes the ids on, and the head scores them."""

    base_model_prefix = "backbone"

    def __init__(self, peer: PeerTrainer) -> None:
        super().__init__()
        self._peer = [peer]  # in a list, so that it is not registered as a submodule
        self._real_BL = torch.empty(0)

    def backbone(self, input_ids: Tensor, attention_mask: Tensor, **kwargs: Any) -> SimpleNamespace:
        """Return the ids in place of the last hidden state."""
        self._real_BL = attention_mask
        return SimpleNamespace(hidden_states=[input_ids])

    def score(self, ids_BL: Tensor) -> Tensor:
        """The reward of each row, repeated at each of its positions: (B, L, 1)."""
        peer = self._peer[0]
        prompts, size, completions = peer.next_prompts().ids, peer.train.group_size, []
        for row, (ids, real) in enumerate(zip(ids_BL, self._real_BL, strict=True)):
            prompt = list(prompts[row // size])
            written = ids[real].tolist()
            if written[: len(prompt)] != prompt:
                raise RuntimeError("trl-ppo: TRL took other prompts than those of this update, or in another order")
            completions.append(written[len(prompt) :])
        rewards_B = peer.sampled(completions).rewards_B.nan_to_num(0.0).to(ids_BL.device)
        return rewards_B[:, None, None].expand(*ids_BL.shape, 1)
