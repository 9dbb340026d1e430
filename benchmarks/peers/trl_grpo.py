"""TRL's GRPOTrainer as an arm.

Its penalty, advantages and loss equal those of `algorithms/grpo.py` (tests/algorithms/test_trl_grpo.py compares them on
one batch). It differs from that arm in its random numbers, and so in its completions; in the order of rows in a
mini-batch; and in its learning rate, which rises from 0, one optimizer step behind ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppo_vs_grpo.algorithms.shared.networks.vocabulary import silence
from ppo_vs_grpo.benchmarks.peers.trainer import QUIET, PeerTrainer, Report, UpdateSteps, micro_batch_rows
from ppo_vs_grpo.tasks.errors import UserError

if TYPE_CHECKING:
    from trl import GRPOConfig


def loop(peer: PeerTrainer, folder: Path, report: Report) -> None:
    """Run TRL's trainer on the suite's prompts, with the suite's reward as its reward function."""
    try:
        from trl import GRPOTrainer
    except ImportError as error:
        raise UserError(f"trl-grpo: TRL is not installed, or has no GRPOTrainer: {error}") from None
    from datasets import Dataset

    if len(set(map(len, peer.prompts.ids))) > 1 and getattr(peer.policy.config, "rope_parameters", None) is None:
        raise UserError(
            "trl-grpo: TRL gives no positions, so a model with learned ones misreads prompts of unequal lengths, "
            f"and {type(peer.policy).__name__} has no rotary ones"
        )

    def rewards(prompts: list[str], completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
        drawn = peer.next_prompts().problems
        if prompts != [problem.prompt for problem in drawn for _ in range(peer.train.group_size)]:
            raise RuntimeError("trl-grpo: TRL took other prompts than those of this update, or in another order")
        # A missing reward is None in TRL.
        return [None if reward != reward else reward for reward in peer.sampled(completion_ids).rewards_B.tolist()]

    steps = peer.train.epochs * peer.train.mini_batches
    built = GRPOTrainer(
        peer.policy,
        rewards,
        _arguments(peer, folder, steps),
        train_dataset=Dataset.from_dict({"prompt": [problem.prompt for problem in peer.prompts.problems]}),
        processing_class=peer.tokenizer,
        callbacks=[UpdateSteps(peer, report, per_update=steps)],
    )
    if built.ref_model is not None:  # loaded again from the start's folder
        silence(built.ref_model, peer.unreadable)
    built.train()


def _arguments(peer: PeerTrainer, folder: Path, steps: int) -> GRPOConfig:
    """The arm's settings under TRL's names; an update is `steps` optimizer steps."""
    from trl import GRPOConfig

    train, config = peer.train, peer.algorithm.config.model_dump()
    step_rows = train.batch_completions // train.mini_batches
    rows = micro_batch_rows(step_rows, peer.width, train.micro_batch_tokens)
    return GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=step_rows // rows,
        steps_per_generation=train.batch_completions // rows,
        num_iterations=train.epochs,
        num_generations=train.group_size,
        max_steps=train.updates * steps,
        max_completion_length=peer.max_new_tokens,
        temperature=train.temperature,
        learning_rate=train.learning_rate,
        warmup_steps=round(train.warmup_completions / train.batch_completions * steps),
        max_grad_norm=train.max_grad_norm,
        beta=train.beta,
        epsilon=train.clip_low,
        epsilon_high=train.clip_high,
        loss_type="grpo",
        scale_rewards=config["scale"],
        shuffle_dataset=False,
        seed=peer.seed,
        use_cpu=peer.device.type == "cpu",
        **QUIET,
    )
