"""Memory against what knows nothing of roles or phases: the allocator's blocks by address, and the process itself."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.grpo import GRPO
from ppo_vs_grpo.algorithms.ppo import PPO
from ppo_vs_grpo.algorithms.shared.config import CriticConfig, TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.models.tiny import SIZES, tokenizer, untrained
from ppo_vs_grpo.benchmarks.profile.memory import Tracker
from ppo_vs_grpo.benchmarks.profile.tracked import attach
from ppo_vs_grpo.tasks import make

TRAIN = TrainConfig(prompts_per_update=4, group_size=4, mini_batches=2, micro_batch_tokens=256, max_new_tokens=12)
ARMS: dict[str, Callable[[], Algorithm]] = {
    "ppo": lambda: PPO(PPO.Config(), TRAIN),
    "ppo-critic": lambda: PPO(PPO.Config(critic=CriticConfig(kind="model")), TRAIN),
    "grpo": lambda: GRPO(GRPO.Config(), TRAIN),
}


def trainer(arm: str) -> Trainer:
    characters = tokenizer()
    return Trainer(untrained(SIZES["nano"], characters), characters, make("countdown"), ARMS[arm](), TRAIN, seed=0)


def peak_of_blocks_bytes(seen: profile) -> int:
    """The most that the allocator's blocks held at once, those apart that were there when the profile began."""
    nodes, blocks = list(seen.profiler.kineto_results.experimental_event_tree()), []
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if node.tag == _EventType.Allocation:
            blocks.append((node.start_time_ns, node.extra_fields.ptr, node.extra_fields.alloc_size))
    living: dict[int, int] = {}
    level = peak = 0
    for _, address, size_bytes in sorted(blocks, key=lambda block: block[0]):
        if size_bytes > 0:
            assert address not in living
            living[address] = size_bytes
            level += size_bytes
        elif address in living:
            assert living[address] == -size_bytes
            level -= living.pop(address)
        peak = max(peak, level)
    return peak


@pytest.mark.parametrize("arm", ARMS)
def test_the_peak_of_an_update_is_that_of_the_allocators_blocks(arm: str) -> None:
    """Networks are made inside the profile: it sees all that the tracker is told of, and needs no level to start at."""
    with (
        warnings.catch_warnings(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True, with_stack=True) as seen,
    ):
        warnings.simplefilter("ignore")
        plain = trainer(arm)
        attach(Tracker(), plain)
        next(plain.updates(1))
    tracker, tracked = Tracker(), trainer(arm)
    attach(tracker, tracked)
    with tracker:
        next(tracked.updates(1, measure_memory=True))
    assert tracker.total_peak_bytes() == pytest.approx(peak_of_blocks_bytes(seen), rel=1e-3)


PREDICT = """
import pathlib, re
from ppo_vs_grpo.benchmarks.profile.predict import predict
from ppo_vs_grpo.benchmarks.profile.shapes import shape
from ppo_vs_grpo.benchmarks.profile.work import Work

def high_water_bytes():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])

predict(shape("qwen2.5-0.5b"), ["grpo"], Work.of(8, 8, 8, micro_batch_tokens=64, mini_batches=1))
before = high_water_bytes()
config = shape("qwen2.5-72b")
config.num_hidden_layers = 4
predicted = predict(config, ["ppo"], Work.of(4096, 32, 32, micro_batch_tokens=128, mini_batches=1))[0]
cache = max(row.own_peak_bytes for row in predicted.peaks if row.role == "kv_cache")
print(predicted.total_peak_bytes, cache, high_water_bytes() - before)
"""


# Not taken on Linux. Elsewhere a process cannot read the largest memory it ever held as a number to subtract from.
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells VmHWM, in /proc/self/status")
def test_a_prediction_of_many_gigabytes_takes_none_of_them() -> None:
    """A cache made in earnest would not be seen elsewhere: the tracker counts it alike."""
    made = subprocess.run([sys.executable, "-P", "-c", PREDICT], capture_output=True, text=True, check=True)
    predicted_bytes, cache_bytes, taken_bytes = map(int, made.stdout.split()[-3:])
    assert predicted_bytes > 60e9
    assert cache_bytes > 4e9
    assert taken_bytes < 0.5e9
