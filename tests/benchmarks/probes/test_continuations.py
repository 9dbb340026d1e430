"""The value probe on a policy: it disturbs nothing and matches every row with its own states."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

from copying import Copying
from one_step import weights
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.probes import continuations
from ppo_vs_grpo.benchmarks.probes.continuations import Continued, ValueProbe, continue_rollouts, judged, measure
from ppo_vs_grpo.benchmarks.probes.critic import value_quality
from ppo_vs_grpo.benchmarks.probes.estimates import Estimate
from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.splits import heldout, rng
from probe_oracle import by_name, columns, probed, value
from small_trainer import AnyLetter, trainer

TRAIN = TrainConfig(prompts_per_update=4, group_size=4, learning_rate=1e-3, warmup_completions=0, completions=160)
ASKED = heldout(AnyLetter(), "heldout", 6)


def continued(made: Trainer, **changes: int) -> Continued:
    asked = {"group_size": 4, "continuations": 4, "prefixes": 3, "seed": 0, **changes}
    return continue_rollouts(made, ASKED, **asked)


def probe_of(made: Trainer, **changes: int) -> ValueProbe:
    return judged(continued(made, **changes))


def arm(name: str, task: Copying | None = None) -> Trainer:
    """An arm whose critic, where it has one, says something."""
    made = trainer(name, train=TRAIN, task=task or AnyLetter())
    if made.models.value_head is not None:
        with torch.no_grad():
            made.models.value_head.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    return made


def test_a_run_with_a_critic_is_probed() -> None:
    found = continued(arm("ppo"))
    probe, prefixes = judged(found), found.prefixes
    assert probe == measure(arm("ppo"), ASKED, group_size=4, continuations=4, prefixes=3, seed=0)
    assert found.rewards_PG.shape == (6, 4)
    assert sorted(set(prefixes.prompt_N.tolist())) == list(range(6))
    assert (prefixes.position_N == 0).sum() == 6
    assert prefixes.position_N.max() < 1
    assert probe.values is not None
    assert probe.values.n == len(prefixes.mean_N) > 12
    assert probe.break_even is not None
    expected = ["none", "batch_mean", "group_mean", "leave_one_out"]
    expected += ["value_prompt", "monte_carlo_prompt", "value", "monte_carlo"]
    assert [b.name for b in probe.baselines] == expected


def test_a_run_without_a_critic_is_probed_for_the_rest() -> None:
    plain, with_critic = continued(arm("grpo")), continued(arm("ppo"))
    probe = judged(plain)
    assert (probe.values, probe.break_even, plain.prefixes.value_N) == (None, None, None)
    assert {"leave_one_out", "monte_carlo_prompt", "monte_carlo"} < set(by_name(probe.baselines))
    assert not any(name.startswith("value") for name in by_name(probe.baselines))
    # The same policy, the same random numbers: the same of everything that needs no critic.
    assert np.array_equal(plain.prefixes.mean_N, with_critic.prefixes.mean_N)
    assert by_name(probe.baselines)["monte_carlo"] == by_name(judged(with_critic).baselines)["monte_carlo"]


def raw(found: Continued) -> list[list[float]]:
    return [found.rewards_PG.ravel().tolist(), *(c.tolist() for c in columns(found.prefixes) if c is not None)]


def test_a_seed_fixes_the_probe() -> None:
    first, again, other = continued(arm("ppo")), continued(arm("ppo")), continued(arm("ppo"), seed=1)
    assert raw(first) == raw(again) != raw(other)
    assert not np.array_equal(first.rewards_PG, other.rewards_PG)
    assert judged(first) == judged(again)


def test_every_random_stream_is_the_probes_own_and_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str | int, ...]] = []
    monkeypatch.setattr(continuations, "rng", lambda *parts: drawn.append(parts) or rng(*parts))  # type: ignore[func-returns-value]
    probe_of(arm("ppo"), seed=3)
    assert len(set(drawn)) == len(drawn) >= 4
    assert {parts[:3] for parts in drawn} == {("probe-values", "copying", 3)}


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_a_probe_leaves_models_random_numbers_and_training_alone(name: str) -> None:
    probed_run, plain = arm(name), arm(name)
    torch.manual_seed(5)
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    networks = [m for m in (probed_run.models.policy, probed_run.models.value_head) if m is not None]
    weights_before = [weights(m) for m in networks]
    probe_of(probed_run)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]
    assert all(torch.equal(weights(m), w) for m, w in zip(networks, weights_before, strict=True))
    assert all(p.grad is None and p.requires_grad for m in networks for p in m.parameters())
    list(plain.updates(1))
    list(probed_run.updates(1))
    probe_of(probed_run)
    (ours,), (theirs,) = probed_run.updates(1), plain.updates(1)
    assert torch.equal(weights(probed_run.models.policy), weights(plain.models.policy))
    assert {k: v for k, v in ours.metrics.items() if k[-2:] != "_s"} == {
        k: v for k, v in theirs.metrics.items() if k[-2:] != "_s"
    }


def test_every_row_is_matched_with_its_own_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reward hangs on the first letter: after it, every continuation gets what the row got. V is what V was."""
    seen: list[Any] = []
    original = continuations._values

    def listening(*given: Any) -> Any:
        seen.extend(given)
        return original(*given)

    monkeypatch.setattr(continuations, "_values", listening)
    made = arm("ppo")
    found = continued(made, continuations=3)
    rewards_PG, measured, prompt_P, along_M = found.rewards_PG, found.prefixes, found.prompt_P, found.along_M
    row_M, rolled = np.arange(24).repeat(3), seen[1]
    assert measured.prompt_N[prompt_P].tolist() == list(range(6))
    assert (measured.position_N[prompt_P] == 0).all()
    assert (measured.prompt_N[along_M] == row_M // 4).all()
    special = made.tokenizer.all_special_ids  # they are no text, so the letter after one is the first
    begun_M = ~np.isin(rolled.completion_BT[:, 0].numpy(), special)[row_M]
    later_M = (measured.position_N[along_M] > 0) & begun_M
    assert later_M.sum() > 12
    assert 0 < rewards_PG.ravel()[row_M][later_M].mean() < 1
    assert (measured.mean_N[along_M] == rewards_PG.ravel()[row_M])[later_M].all()
    assert (measured.variance_N[along_M][later_M] == 0).all()
    for row, state in zip(row_M, along_M, strict=True):
        tokens = rolled.completion_BT[row, rolled.mask_BT[row]].tolist()
        t = round(float(measured.position_N[state]) * len(tokens))
        ids = torch.tensor([[*rolled.prompts.ids[row // 4], *tokens[:t]]])
        with torch.no_grad():
            hidden = made.models.policy.base_model(input_ids=ids).last_hidden_state[0, -1]
            assert made.models.value_head is not None
            exact = float(made.models.value_head(hidden)[0])
        assert measured.value_N[state] == pytest.approx(exact, abs=1e-5)


def test_continuations_find_the_value_of_the_prompt() -> None:
    made = arm("ppo")
    prefixes = continued(made, continuations=300, prefixes=1, group_size=2).prefixes
    letters = made.tokenizer.convert_tokens_to_ids(list("abcdefgh"))
    start_N = prefixes.position_N == 0
    for problem, mean in zip(ASKED, prefixes.mean_N[start_N], strict=True):
        with torch.no_grad():
            logits = made.models.policy(input_ids=torch.tensor(made.encode([problem]).ids)).logits[0, -1]
        exact = float(torch.softmax(logits.float(), -1)[letters].sum())
        assert mean == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 300) ** 0.5)


class Long(Copying):
    """Forty tokens at most; hears every completion; scores its length, the missing reward of some aside."""

    max_new_tokens = 40

    def __init__(self, missing: bool = False) -> None:
        self.heard: list[tuple[str, str]] = []
        self.missing = missing

    def score(self, problem: Problem, completion: str) -> Score:
        """The share of the forty tokens."""
        self.heard.append((problem.prompt, completion))
        lost = self.missing and len(completion) % 3 != 0
        return Score(None if lost else len(completion) / 40, False)


def test_continuations_keep_their_problem_their_prefix_and_the_limit() -> None:
    task = Long()
    made = trainer("grpo", train=TRAIN, task=task)
    with torch.no_grad():
        made.models.policy.lm_head.weight[2] = 0.0  # the end is no likelier than the rest
    found = continued(made, continuations=2, group_size=2)
    heard = task.heard
    assert len(heard) == 12 + 2 * len(found.prefixes.mean_N)
    assert max(len(completion) for _, completion in heard) <= 40
    rolled = {(prompt, completion) for prompt, completion in heard[:12]}
    assert {prompt for prompt, _ in heard} == {p.prompt for p in ASKED}
    deep = [(p, c) for p, c in heard[-8:]]  # from the prefixes with most tokens
    for prompt, completion in deep:
        assert any(prompt == p and completion[:20] == c[:20] for p, c in rolled)
    assert len(set(deep)) > len({c[:20] for _, c in deep})


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_missing_rewards_are_left_out(name: str) -> None:
    found = continued(arm(name, Long(missing=True)))
    assert np.isnan(found.rewards_PG).any()
    assert (found.prefixes.rated_N < 4).any()
    assert (np.isnan(found.prefixes.mean_N) == (found.prefixes.rated_N < 2)).all()
    _no_nan(judged(found))


def _no_nan(probe: ValueProbe) -> None:
    def walk(x: object) -> None:
        if isinstance(x, dict):
            for part in x.values():
                walk(part)
        elif isinstance(x, list | tuple):
            for part in x:
                walk(part)
        elif isinstance(x, float):
            assert np.isfinite(x)

    walk([asdict(b) for b in probe.baselines])
    walk([asdict(x) for x in (probe.values, probe.break_even) if x is not None])


class Never(Copying):
    """Nothing scores."""

    def score(self, problem: Problem, completion: str) -> Score:
        """No reward."""
        return Score(None, False)


class Same(Copying):
    """Everything scores a number that binary fractions do not hold."""

    def score(self, problem: Problem, completion: str) -> Score:
        """A tenth."""
        return Score(0.1, True)


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_equal_rewards_leave_nothing_to_explain(name: str) -> None:
    probe = probe_of(arm(name, Same()))
    _no_nan(probe)
    assert all(b.plain == b.comparable == b.square == Estimate(None, None) for b in probe.baselines)
    if name == "ppo":
        assert probe.values is not None
        assert probe.values.explained_variance == probe.values.kendall_tau == Estimate(None, None)
        assert value(probe.values.mse) > 0
        assert probe.break_even is not None
        assert probe.break_even.group_size == 2


@pytest.mark.parametrize("changes", [{"continuations": 1}, {"group_size": 1}, {"prefixes": 0}, {"group_size": 2}])
@pytest.mark.parametrize("task", [AnyLetter, Never])
def test_degenerate_sizes_are_defined(changes: dict[str, int], task: type[Copying]) -> None:
    probe = probe_of(arm("ppo", task()), **changes)
    _no_nan(probe)
    if task is Never:
        assert probe.values is None
        assert all(b.plain == Estimate(None, None) for b in probe.baselines)
    elif "continuations" in changes:
        assert probe.values is not None
        assert probe.values.mse == probe.values.explained_variance == Estimate(None, None)
        assert probe.break_even is not None
        assert "not measured" in probe.break_even.note
        assert not any(b.name.startswith("monte_carlo") for b in probe.baselines)


def test_one_prompt_has_values_without_errors() -> None:
    made = arm("ppo")
    probe = measure(made, ASKED[:1], group_size=4, continuations=4, prefixes=3, seed=0)
    _no_nan(probe)
    assert probe.values is not None
    assert probe.values.mse.value is not None
    assert probe.values.mse.se is None
    assert probe.values.explained_variance == Estimate(None, None)
    assert all(b.plain == Estimate(None, None) for b in probe.baselines)
    assert probe.break_even is not None
    assert (probe.break_even.low, probe.break_even.high) == (None, None)


def test_a_critic_is_needed_to_judge_it() -> None:
    with pytest.raises(ValueError, match="needs a critic"):
        value_quality(replace(probed(0, 4, 2), value_N=None))
