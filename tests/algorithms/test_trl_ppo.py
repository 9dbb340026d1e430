"""PPO against `train` of TRL's PPOTrainer: advantages, returns, both losses and the gradients, and what differs."""

from __future__ import annotations

import copy
import inspect
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import LlamaForSequenceClassification

from copying import PAD, llama
from ppo_vs_grpo.algorithms.ppo import PPO
from ppo_vs_grpo.algorithms.shared.advantages import whiten
from ppo_vs_grpo.algorithms.shared.config import CriticConfig, TrainConfig
from ppo_vs_grpo.algorithms.shared.networks.models import Models, build, policy_output, values
from ppo_vs_grpo.algorithms.shared.networks.sequences import join, over_rows, pack
from ppo_vs_grpo.algorithms.shared.types import Advantages, Batch, Context, Denominators, ScoredRollouts
from trl_oracle import (
    COMPLETIONS,
    DEPRECATED,
    FULL,
    GROUP,
    LIMIT,
    LONGER,
    PROMPTS,
    TEMPERATURE,
    Completions,
    characters,
    gradient,
    logp_of,
    older,
    policy,
    reference,
    rollouts,
)

with warnings.catch_warnings():  # that it is experimental
    warnings.simplefilter("ignore")
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

pytestmark = pytest.mark.filterwarnings(DEPRECATED)

ROWS = len(COMPLETIONS)


@dataclass(frozen=True)
class Learned:
    """What one optimizer step computes."""

    advantages: Tensor
    returns: Tensor
    policy_loss: Tensor
    value_loss: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Step:
    """A backward pass of TRL: its rows, the rewards of all rows, the parameters then and those at the first one."""

    learned: Learned
    scores_B: Tensor
    rows_B: Tensor
    parameters: dict[str, Tensor]
    first: dict[str, Tensor]


def scorer(seed: int) -> LlamaForSequenceClassification:
    """A random Llama that gives one number per position: TRL's critic, and its reward model."""
    config = copy.deepcopy(llama().config)
    config.num_labels = 1
    torch.manual_seed(seed)
    return LlamaForSequenceClassification(config).eval()


def theirs(folder: Path, monkeypatch: pytest.MonkeyPatch, completions: Completions, **options: Any) -> list[Step]:
    """TRL's `train` on one batch for two epochs, so that in the second step the policy and the critic have moved."""
    shared = options.pop("shared", False)
    critic, model, tokens = scorer(3), policy(), characters()
    if shared:
        critic.model = model.model
    config = PPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=ROWS // options.get("gradient_accumulation_steps", 1),
        total_episodes=ROWS,
        num_ppo_epochs=2,
        response_length=LIMIT,
        stop_token="eos",
        temperature=TEMPERATURE,
        num_sample_generations=0,
        learning_rate=0.03,
        activation_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        **options,
    )
    rows = [list(ids) for ids in PROMPTS for _ in range(GROUP)]
    built = PPOTrainer(config, tokens, model, reference(), scorer(9), Dataset.from_dict({"input_ids": rows}), critic)
    built.dataloader = [tokens.pad({"input_ids": rows}, padding_side="left", return_tensors="pt")]  # not shuffled
    monkeypatch.setattr(ppo_trainer, "batch_generation", lambda model, queries, *rest: sampled(queries, completions))
    steps = watch(built)
    built.train()
    return steps


def sampled(queries: Tensor, completions: Completions) -> tuple[Tensor, Tensor]:
    """In place of sampling: the completions, and the logits that `older` would have drawn them from."""
    responses = torch.tensor([[*ids, *[PAD] * (LIMIT - len(ids))] for ids in completions])
    whole = torch.cat([queries, responses], 1)
    logits = ppo_trainer.forward(older(), whole, PAD).logits[:, queries.shape[1] - 1 : -1]
    return whole, logits / TEMPERATURE


def watch(built: PPOTrainer) -> list[Step]:
    """A list to which every backward pass of `train` adds what `train` holds in its variables at that moment."""
    steps: list[Step] = []
    backward, share = built.accelerator.backward, built.args.vf_coef

    def watched(loss: Tensor) -> None:
        frame = inspect.currentframe()
        assert frame is not None
        assert frame.f_back is not None
        held = dict(frame.f_back.f_locals)
        parameters = {name: tensor.clone() for name, tensor in built.model.state_dict().items()}
        backward(loss)
        policy_loss, value_loss = held["pg_loss"].detach(), share * held["vf_loss"].detach()
        torch.testing.assert_close(loss.detach(), policy_loss + value_loss)
        learned = Learned(held["advantages"], held["returns"], policy_loss, value_loss, gradient(built.model))
        rows_B = torch.as_tensor(held["micro_batch_inds"])
        steps.append(Step(learned, held["scores"], rows_B, parameters, steps[0].first if steps else parameters))

    built.accelerator.backward = watched
    return steps


def models(parameters: dict[str, Tensor], critic: CriticConfig) -> Models:
    """Our networks with the parameters of TRL's."""

    def below(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): x for name, x in parameters.items() if name.startswith(prefix)}

    made = build(policy(), critic, needs_reference=False)
    made.policy.load_state_dict(below("policy."))
    if made.trunk is not None:
        made.trunk.load_state_dict(below("value_model.model."))
    assert made.value_head is not None
    made.value_head.load_state_dict({"bias": torch.zeros(1), **below("value_model.score.")})  # TRL's has no bias
    return made


def advantages(algorithm: PPO, step: Step, completions: Completions, longer: Completions) -> tuple[Advantages, Batch]:
    """Our advantages, with one step more in a row whose `longer` is longer, and the batch of the loss."""
    drawn, stretched = rollouts(completions, older()), rollouts(longer, older())
    before = models(step.first, algorithm.config.critic)
    reference_BT = logp_of(reference(), drawn)
    values_BT = over_rows(join(stretched, PAD), 10_000, lambda packed: values(before, packed))
    # The step after the end is not sampled: no penalty, which is why the log-probabilities stay those of `drawn`.
    scored = ScoredRollouts(replace(stretched, logp_BT=drawn.logp_BT), step.scores_B, step.scores_B > 0, {})
    if longer == completions:
        made = algorithm.advantages(scored, Context(reference_BT, values_BT))
    else:
        plain = PPO(algorithm.config.model_copy(update={"whiten": False}), algorithm.train)
        made = plain.advantages(scored, Context(reference_BT, values_BT))
        made = Advantages(whiten(made.advantages_BT * drawn.mask_BT, drawn.mask_BT), made.returns_BT)
    return made, Batch(drawn.mask_BT, drawn.logp_BT, made.advantages_BT, reference_BT, values_BT, made.returns_BT)


def ours(
    algorithm: PPO,
    step: Step,
    completions: Completions,
    longer: Completions | None = None,
    rows_B: Tensor | None = None,
) -> Learned:
    """Our advantages, and our losses on some rows; `longer` adds TRL's step after the end to returns and value loss."""
    longer = completions if longer is None else longer
    made, batch = advantages(algorithm, step, completions, longer)
    stretched = rollouts(longer, older())
    now = models(step.parameters, algorithm.config.critic)
    index = torch.arange(ROWS) if rows_B is None else rows_B
    packed = pack(join(stretched, PAD), index)
    output = policy_output(now, packed, TEMPERATURE, detach_trunk=False)
    part = batch.rows(index, packed.mask_bT.shape[1])
    losses = algorithm.loss(part, output, Denominators(int(part.mask_BT.sum()), len(index), LIMIT))
    all_steps = Denominators(int(packed.mask_bT.sum()), len(index), LIMIT)
    value_loss = algorithm.loss(replace(part, mask_BT=packed.mask_bT), output, all_steps).value
    assert value_loss is not None
    (losses.policy + value_loss).backward()
    assert now.value_head is not None
    assert now.value_head.weight.grad is not None
    parts = [gradient(now.policy)]
    parts += [gradient(now.trunk)] if now.trunk is not None else []
    parts += [now.value_head.weight.grad.flatten()]
    assert made.returns_BT is not None
    return Learned(made.advantages_BT, made.returns_BT, losses.policy.detach(), value_loss.detach(), torch.cat(parts))


def ppo(train: dict[str, float] | None = None, kind: str = "model", **config: Any) -> PPO:
    defaults = {"value_coef": 0.1, "critic": CriticConfig(kind=kind)}
    return PPO(PPO.Config(**{**defaults, **config}), TrainConfig(**{"beta": 0.05, **(train or {})}))


def assert_same(ours: Learned, theirs: Learned, names: tuple[str, ...] = tuple(Learned.__annotations__)) -> None:
    assert theirs.gradient.abs().max() > 1e-2
    for name in names:
        ours_x, theirs_x = getattr(ours, name), getattr(theirs, name)
        torch.testing.assert_close(
            ours_x, theirs_x, atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def distance(ours: Learned, theirs: Learned, name: str) -> float:
    return float((getattr(ours, name) - getattr(theirs, name)).abs().max())


@pytest.mark.parametrize(("kind", "gamma", "lam"), [("model", 1.0, 0.95), ("head", 1.0, 0.95), ("model", 0.9, 0.8)])
def test_rows_that_fill_the_limit_give_what_trl_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, gamma: float, lam: float
) -> None:
    steps = theirs(tmp_path, monkeypatch, FULL, shared=kind == "head", gamma=gamma, lam=lam)
    assert len(steps) == 2
    for step in steps:
        assert_same(ours(ppo(kind=kind, gamma=gamma, lam=lam), step, FULL), step.learned)


def test_with_another_setting_the_two_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = theirs(tmp_path, monkeypatch, FULL)[1]
    for other, names in (
        (ppo(lam=0.9), ("advantages", "returns", "policy_loss", "value_loss", "gradient")),
        (ppo(gamma=0.95), ("advantages", "returns")),
        (ppo({"beta": 0.0}), ("advantages", "returns")),
        (ppo(whiten=False), ("advantages", "policy_loss", "gradient")),
        (ppo({"clip_low": 0.4}), ("policy_loss", "gradient")),
        (ppo({"clip_high": 1.0}), ("policy_loss", "gradient")),
        (ppo(value_clip=None), ("value_loss", "gradient")),
        (ppo(value_clip=0.4), ("value_loss",)),
        (ppo(value_coef=0.2), ("value_loss", "gradient")),
    ):
        learned = ours(other, step, FULL)
        for name in names:
            assert distance(learned, step.learned, name) > 1e-3, (other.config, name)


@pytest.mark.parametrize("kind", ["model", "head"])
def test_rows_that_end_early_give_what_trl_gives_with_a_step_after_the_end_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # TRL puts the reward one step after the end token, and that step has a value, a return and a share in the loss.
    for step in theirs(tmp_path, monkeypatch, COMPLETIONS, shared=kind == "head"):
        assert_same(ours(ppo(kind=kind), step, COMPLETIONS, LONGER), step.learned)


def test_trl_has_a_step_after_the_end_token_and_ppo_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = theirs(tmp_path, monkeypatch, COMPLETIONS)[1]
    plain = ours(ppo(), step, COMPLETIONS)
    for name in ("advantages", "returns", "policy_loss", "value_loss", "gradient"):
        assert distance(plain, step.learned, name) > 1e-3
    after = (step.learned.returns != 0) & ~rollouts(COMPLETIONS).mask_BT
    assert after.sum() == sum(len(ids) < LIMIT for ids in COMPLETIONS)
    torch.testing.assert_close(step.learned.returns[after], step.scores_B[after.any(1)], atol=1e-5, rtol=1e-5)


def test_at_lam_1_the_step_after_the_end_cancels_out_of_the_policy_and_stays_in_the_value_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy_parameters = sum(p.numel() for p in policy().parameters())
    for step in theirs(tmp_path, monkeypatch, COMPLETIONS, lam=1.0):
        plain = ours(ppo(lam=1.0), step, COMPLETIONS)
        assert_same(plain, step.learned, ("advantages", "policy_loss"))
        apart = (plain.gradient - step.learned.gradient).abs()
        assert apart[:policy_parameters].max() < 1e-5 < 1e-3 < apart[policy_parameters:].max()
        assert distance(plain, step.learned, "value_loss") > 1e-3


def test_trl_averages_over_micro_batches_and_here_they_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = theirs(tmp_path, monkeypatch, COMPLETIONS, gradient_accumulation_steps=2)
    parts = [ours(ppo(), step, COMPLETIONS, LONGER, step.rows_B) for step in (first, second)]
    for part, step in zip(parts, (first, second), strict=True):
        assert_same(part, step.learned, ("advantages", "returns", "policy_loss", "value_loss"))
    mean = (parts[0].gradient + parts[1].gradient) / 2
    torch.testing.assert_close(mean, second.learned.gradient, atol=1e-5, rtol=1e-5)
    assert distance(ours(ppo(), second, COMPLETIONS, LONGER), second.learned, "gradient") > 1e-3
