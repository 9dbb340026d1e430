"""TRL's GRPOTrainer as an arm.

Its penalty, advantages and loss are those of `algorithms/grpo.py` (tests/algorithms/test_trl_grpo.py has both on one
batch). Differs from that arm in: random numbers, so other completions; the order of rows in a mini-batch; a learning
rate that rises from 0, one optimizer step behind ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ppo_vs_grpo.benchmarks.peers.driving import QUIET, PeerTrainer, micro_batch_rows
from ppo_vs_grpo.tasks.errors import UserError


class TRLGRPO(PeerTrainer):
    """TRL's trainer on the suite's prompts, with the suite's reward as its reward function."""

    @property
    def steps_per_report(self) -> int:
        """It calls back after every optimizer step."""
        return self.train.epochs * self.train.mini_batches

    def _loop(self, folder: Path, callback: TrainerCallback) -> None:
        try:
            from trl import GRPOConfig, GRPOTrainer
        except ImportError as error:
            raise UserError(f"trl-grpo: TRL is not installed, or has no GRPOTrainer: {error}") from None
        from datasets import Dataset

        if len(set(map(len, self.prompts.ids))) > 1 and getattr(self.policy.config, "rope_parameters", None) is None:
            raise UserError(
                "trl-grpo: TRL gives no positions, so a model with learned ones misreads prompts of unequal lengths, "
                f"and {type(self.policy).__name__} has no rotary ones"
            )
        train, config = self.train, self.algorithm.config.model_dump()
        step_rows = train.batch_completions // train.mini_batches
        rows = micro_batch_rows(step_rows, self.width, budget_tokens=train.micro_batch_tokens)
        steps = self.steps_per_report
        arguments = GRPOConfig(
            output_dir=str(folder),
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=step_rows // rows,
            steps_per_generation=train.batch_completions // rows,
            num_iterations=train.epochs,
            num_generations=train.group_size,
            max_steps=train.updates * steps,
            max_completion_length=self.max_new_tokens,
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
            seed=self.seed,
            use_cpu=self.device.type == "cpu",
            **QUIET,
        )
        data = Dataset.from_dict({"prompt": [problem.prompt for problem in self.prompts.problems]})
        built = GRPOTrainer(
            self.policy,
            self._rewards,
            arguments,
            train_dataset=data,
            processing_class=self.tokenizer,
            callbacks=[callback],
        )
        built.train()

    def _rewards(self, prompts: list[str], completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
        """The reward of every completion; None where it is missing, which is what TRL calls it."""
        drawn = self.next_prompts().problems
        if prompts != [problem.prompt for problem in drawn for _ in range(self.train.group_size)]:
            raise RuntimeError("trl-grpo: TRL took other prompts than those of this update, or in another order")
        return [None if reward != reward else reward for reward in self.sampled(completion_ids).rewards_B.tolist()]
