"""A worker whose disk fails: the first argument has by run's key when and how, as JSON; the rest is the worker's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from faulty_disk import Disk
from ppo_vs_grpo.benchmarks.run import worker


def main(arguments: Sequence[str]) -> int:
    """Train one run. The last line of its log has how often it asked something of the disk."""
    faults, folder = json.loads(arguments[0]), Path(arguments[1])
    disk = Disk(str(folder.absolute()), **faults.get(folder.name, {}))
    disk.install()
    code = worker.main(list(arguments[1:]))
    print(f"disk: {disk.count.value} operations")
    return code
