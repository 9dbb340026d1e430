"""What is asked: suites, and how they become runs. The suites that come with the package are the YAML files here.

- suite.py: a suite, and what must fit in it
- sections.py: what stands under its keys: tasks, arms, timing, throughput, claims, evaluation, checkpoints, limits
- run_spec.py: one run of it: what spec.json holds, its key, PROTOCOL
- load.py: YAML and --set to a suite
- resolve.py: a suite to its runs: names looked up, settings checked
- continuation.py: a suite in a folder that has results: seeds added, another configuration refused
- draft.py: a first suite to change
- trl_config.py: a configuration of TRL's GRPO
- trl_suite.py: its suite
- trl_notes.py: what of it has no counterpart
- mistakes.py: a wrong key or value as one line
"""

from __future__ import annotations

from pathlib import Path

SUITES = Path(__file__).parent
"""Where the suites lie that come with the package."""


def suite_names() -> list[str]:
    """The names of the suites that come with the package."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))
