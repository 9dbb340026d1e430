"""The memory tracker: against torch's own counts, by hand, and what it must leave alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.distributed._tools.mem_tracker import MemTracker
from torch.profiler import ProfilerActivity, profile

from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.grpo import GRPO
from ppo_vs_grpo.algorithms.ppo import PPO
from ppo_vs_grpo.algorithms.shared.config import CriticConfig, TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.models.tiny import SIZES, tokenizer, untrained
from ppo_vs_grpo.benchmarks.profile.flops import measure_costs
from ppo_vs_grpo.benchmarks.profile.memory import PHASES, ROLES, TOTAL, Peak, Tracker
from ppo_vs_grpo.benchmarks.profile.tracked import attach, register
from ppo_vs_grpo.tasks import make

TRAIN = TrainConfig(prompts_per_update=4, group_size=4, mini_batches=2, micro_batch_tokens=128, max_new_tokens=8)
ARMS: dict[str, Callable[[TrainConfig], Algorithm]] = {
    "ppo": lambda train: PPO(PPO.Config(), train),
    "ppo-critic": lambda train: PPO(PPO.Config(critic=CriticConfig(kind="model")), train),
    "grpo": lambda train: GRPO(GRPO.Config(), train),
}


def trainer(arm: str, size: str = "nano", **changes: float) -> Trainer:
    train = TRAIN.model_copy(update=changes)
    characters = tokenizer()
    return Trainer(untrained(SIZES[size], characters), characters, make("countdown"), ARMS[arm](train), train, seed=0)


def bytes_of(module: nn.Module) -> int:
    return sum(t.nbytes for t in {*module.parameters(), *module.buffers()})


def table(rows: Sequence[Peak]) -> dict[tuple[str, str], Peak]:
    return {(row.phase, row.role): row for row in rows}


def layers() -> tuple[nn.Module, torch.optim.Optimizer, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(50, 32), nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 50))
    return model, torch.optim.AdamW(model.parameters(), fused=True), torch.randint(0, 50, (8, 16))


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, ids_BT: Tensor) -> None:
    nn.functional.cross_entropy(model(ids_BT).flatten(0, 1), ids_BT.flatten()).backward()
    optimizer.step()
    optimizer.zero_grad()


def allocated_peak_bytes(work: Callable[[], object]) -> int:
    """What the CPU's allocator gave out at most, beyond what it had at the start."""
    with warnings.catch_warnings(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        warnings.simplefilter("ignore")
        work()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    level = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        level += event.nbytes()
        peak = max(peak, level)
    return peak


def test_the_total_is_that_of_torchs_own_tracker_where_that_works() -> None:
    model, optimizer, ids_BT = layers()
    ours = Tracker()
    ours.register("policy.params", model)
    ours.register("batch", [ids_BT])
    with ours, ours.phase("forward"):
        learn(model, optimizer, ids_BT)
    model, optimizer, ids_BT = layers()
    theirs = MemTracker()
    theirs.track_external(model, optimizer, ids_BT)
    with theirs:
        learn(model, optimizer, ids_BT)
    assert ours.total_peak_bytes() == theirs.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]


@pytest.mark.parametrize("arm", ARMS)
def test_the_total_of_an_update_is_the_allocators(arm: str) -> None:
    loaded, measured = Tracker(), trainer(arm)
    register(loaded, measured.models, measured._learner.optimizer)
    before_bytes = loaded.total_peak_bytes()

    def work() -> None:
        attach(Tracker(), measured)
        next(measured.updates(1))

    allocated_bytes = before_bytes + allocated_peak_bytes(work)
    tracked_bytes = sum(row.bytes_at_total_peak for row in measure_costs(trainer(arm)).peaks if row.phase == TOTAL)
    assert tracked_bytes == pytest.approx(allocated_bytes, rel=1e-3)


@pytest.mark.parametrize("arm", ARMS)
def test_roles_are_what_the_networks_hold(arm: str) -> None:
    measured = trainer(arm, beta=0.1)
    models, rows = measured.models, table(measure_costs(measured).peaks)
    policy_bytes = bytes_of(models.policy)
    gradient_bytes = sum(p.nbytes for p in models.policy.parameters())
    for phase in ("rollout", "reward", "reference", "forward", "backward", "optimizer", TOTAL):
        assert rows[phase, "policy.params"].own_peak_bytes == policy_bytes
        assert rows[phase, "reference.params"].own_peak_bytes == policy_bytes
        assert rows[phase, "policy.grads"].own_peak_bytes == gradient_bytes
        state_bytes = rows[phase, "optimizer.policy"].own_peak_bytes
        assert 2 * gradient_bytes <= state_bytes < 2 * gradient_bytes + 4 * 100  # and a count for each tensor
    critic = [m for m in (models.value_head, models.trunk) if m is not None]
    assert rows.keys() >= {("value", "value.params")} if critic else ("value", "value.params") not in rows
    if critic:
        assert rows[TOTAL, "value.params"].own_peak_bytes == sum(map(bytes_of, critic))
        assert rows[TOTAL, "value.grads"].own_peak_bytes == sum(p.nbytes for m in critic for p in m.parameters())


def test_the_cache_has_room_for_every_row_at_full_length() -> None:
    measured = trainer("grpo")
    widest = max(len(ids) for ids in measured.collector.sample(1).prompts.ids)
    rows = table(measure_costs(measured).peaks)
    cell_bytes = 2 * 2 * 64 * 4  # keys and values of two layers of 64 floats
    assert rows["rollout", "kv_cache"].bytes_at_total_peak == 16 * (widest + 8) * cell_bytes
    assert ("forward", "kv_cache") not in rows


def test_activations_grow_with_the_micro_batch_and_a_critic_of_its_own_has_as_many_again() -> None:
    few, many = (table(measure_costs(trainer("grpo", mini_batches=1, micro_batch_tokens=n)).peaks) for n in (64, 128))
    role = "activations.policy"
    assert 1.7 < many["forward", role].own_peak_bytes / few["forward", role].own_peak_bytes < 2.3
    head, own = (table(measure_costs(trainer(arm)).peaks) for arm in ("ppo", "ppo-critic"))
    assert ("forward", "activations.value") not in head  # it reads what the policy's pass keeps anyway
    assert 0.8 < own["forward", "activations.value"].own_peak_bytes / own["forward", role].own_peak_bytes < 1


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_roles_add_up_and_no_reference_costs_nothing(beta: float) -> None:
    rows = measure_costs(trainer("grpo", beta=beta)).peaks
    assert any(row.role == "reference.params" for row in rows) == (beta > 0)
    assert any(row.phase == "reference" for row in rows) == (beta > 0)
    for phase in {row.phase for row in rows}:
        of_phase = [row for row in rows if row.phase == phase]
        at_peak_bytes = sum(row.bytes_at_total_peak for row in of_phase)
        assert max(row.own_peak_bytes for row in of_phase) <= at_peak_bytes
        assert at_peak_bytes <= sum(row.own_peak_bytes for row in of_phase)
    totals = {phase: sum(r.bytes_at_total_peak for r in rows if r.phase == phase) for phase in (*PHASES, TOTAL)}
    assert totals[TOTAL] == max(totals[phase] for phase in PHASES)
    assert {row.role for row in rows} <= set(ROLES)


def test_views_and_writes_in_place_are_no_memory_and_the_dead_are_gone() -> None:
    tracker = Tracker()
    with tracker, tracker.phase("rollout"):
        first = torch.zeros(100)
        first.view(10, 10)[2:].add_(1.0)
        del first
        with tracker.phase("reward", role="batch"):
            second = torch.ones(30)
        kept = second[:2]
        del second
        third = torch.ones(50)
    assert kept.sum() + third.sum() == 52
    rows = table(tracker.peaks())
    assert rows["rollout", "temporary"] == Peak("rollout", "temporary", 400, 400)
    assert rows["reward", "batch"] == Peak("reward", "batch", 120, 120)
    assert rows["rollout", "batch"] == Peak("rollout", "batch", 0, 120)
    assert tracker.total_peak_bytes() == 400


def test_a_role_said_late_holds_from_the_birth() -> None:
    tracker = Tracker()
    with tracker, tracker.phase("backward"):
        gradient, passing = torch.zeros(10), torch.zeros(5)
        del passing
        tracker.register("policy.grads", [gradient])
    assert [(row.role, row.bytes_at_total_peak) for row in tracker.peaks() if row.phase == TOTAL] == [
        ("policy.grads", 40),
        ("temporary", 20),
    ]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'lunch' is none of rollout"):
        Tracker().phase("lunch").__enter__()
    with pytest.raises(ValueError, match=r"'weights' is none of policy\.params"):
        Tracker().register("weights", [])


def test_the_probe_leaves_the_run_as_it_is() -> None:
    probed, alone = trainer("ppo-critic"), trainer("ppo-critic")
    next(probed.updates(1)), next(alone.updates(1))
    measure_costs(probed)
    backward = Tensor.backward
    seen, expected = next(probed.updates(1)).metrics, next(alone.updates(1)).metrics
    timeless = {name for name in expected if not name.endswith("_s")}
    assert {name: seen[name] for name in timeless} == {name: expected[name] for name in timeless}
    for ours, theirs in zip(probed.models.policy.parameters(), alone.models.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert Tensor.backward is backward
    assert not probed.models.policy._forward_pre_hooks
