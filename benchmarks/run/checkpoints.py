"""Checkpoints of a training run: the same command goes on from the last one after a kill.

checkpoints/0000120/        of update 120; it is whole or not there
  tensors-0.safetensors     trained weights and the optimizer's moments, in parts
  checkpoint.json           the trainer's numbers, the run's meters, where its records stood, the hash of each
                            part, and a seal over all that
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppo_vs_grpo.benchmarks.records.folder import fingerprint, to_disk
from ppo_vs_grpo.benchmarks.records.schema import read_object
from ppo_vs_grpo.benchmarks.records.seal import seal_of, sealed
from ppo_vs_grpo.benchmarks.run.attempts import RETRIED
from ppo_vs_grpo.benchmarks.run.machine import version_of
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.tasks.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from ppo_vs_grpo.algorithms.shared.checkpoint import State

PLACE, CONTENT = "checkpoints", "checkpoint.json"

KEPT = 2
"""The last one, and one more in case that it is damaged."""

PART_BYTES = 2 * 1024**3
"""Tensors of an accelerator pass through the machine's memory, so many bytes at a time."""

STAY = ("spec.json", "stdout.log", RETRIED, PLACE)
"""What a run's folder keeps beside its records when the run goes back to a checkpoint."""


def made_by(spec: RunSpec) -> dict[str, Any]:
    """What has to be the same for a checkpoint to be used."""
    packages = {f"version of {name}": version_of(name) for name in ("ppo-vs-grpo", "torch", "transformers")}
    return {"key": spec.key, "protocol": spec.protocol, **packages}


def write(run: Path, spec: RunSpec, state: State, rest: Mapping[str, Any]) -> int:
    """Add a checkpoint to a run's folder and remove all but the last KEPT. Returns its bytes; raises OSError.

    `rest` has the run's meters as `meters`, and `records` as `Recorder.standing` has them. What could not be written
    whole is removed: it may be what fills the disk.
    """
    half = run / PLACE / ".part"
    shutil.rmtree(half, ignore_errors=True)
    try:
        size_bytes = _write(half, spec, state, rest)
        half.rename(run / PLACE / f"{state.numbers['number']:07}")
    except OSError:
        shutil.rmtree(half, ignore_errors=True)
        raise
    to_disk(run / PLACE)
    for place in _places(run)[:-KEPT]:
        shutil.rmtree(place)
    return size_bytes


def _write(half: Path, spec: RunSpec, state: State, rest: Mapping[str, Any]) -> int:
    """Write a checkpoint's files and bring them to the disk. Returns their bytes; raises OSError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    half.mkdir(parents=True)
    for number, tensors in enumerate(_parts(state.tensors)):
        try:
            save_file(tensors, half / f"tensors-{number}.safetensors")
        except SafetensorError as error:  # a full disk is no OSError to this library
            raise OSError(str(error)) from error
    files = {path.name: fingerprint(path) for path in sorted(half.iterdir())}
    content = sealed({**made_by(spec), "numbers": state.numbers, **rest, "files": files})
    (half / CONTENT).write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    for path in (*half.iterdir(), half):
        to_disk(path)
    return sum(path.stat().st_size for path in half.iterdir())


def read(run: Path, update: int) -> tuple[State, dict[str, Any]]:
    """The checkpoint of an update, which `go_back` has chosen: the trainer's state, and the whole content."""
    from safetensors.torch import load_file

    from ppo_vs_grpo.algorithms.shared.checkpoint import State

    place = run / PLACE / f"{update:07}"
    content = read_object(place / CONTENT)
    tensors = {name: tensor for file in content["files"] for name, tensor in load_file(place / file).items()}
    return State(tensors, content["numbers"]), content


def go_back(run: Path, spec: RunSpec) -> tuple[int | None, list[str]]:
    """Make a run's folder as it was at its last checkpoint that can be used; the others are removed.

    Returns its update, and why any other was not used. None without such a checkpoint: the folder is as it was.
    """
    told = []
    for place in reversed(_places(run)):
        try:
            heads = _checked(place, run, made_by(spec))
        except UserError as error:
            told.append(f"its checkpoint of update {int(place.name)} cannot be used: {error}")
            shutil.rmtree(place)
            continue
        for path in run.iterdir():
            if path.name not in (*STAY, *heads):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, head in heads.items():
            half = run / f"{name}.part"
            half.write_bytes(head)
            os.replace(half, run / name)
        return int(place.name), told
    return None, told


def discard(run: Path) -> None:
    """Remove a run's checkpoints."""
    shutil.rmtree(run / PLACE, ignore_errors=True)


def _places(run: Path) -> list[Path]:
    """The folders of a run's checkpoints, oldest first."""
    return sorted(place for place in (run / PLACE).glob("*") if place.name.isdecimal())


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The tensors in parts of about PART_BYTES."""
    part: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if part and sum(each.nbytes for each in (*part.values(), tensor)) > PART_BYTES:
            yield part
            part = {}
        part[name] = tensor
    yield part


def _checked(place: Path, run: Path, expected: Mapping[str, Any]) -> dict[str, bytes]:
    """What the run's records had been at a checkpoint, by file. UserError where it is damaged or not of this run."""
    if not (place / CONTENT).is_file():
        raise UserError(f"{CONTENT} is missing")
    content = read_object(place / CONTENT)
    if content.get("seal") != seal_of(content):
        raise UserError(f"{CONTENT} was changed: its seal is not that of its content")
    for name, here in expected.items():
        if content.get(name) != here:
            raise UserError(f"{name} is {content.get(name)!r} there and {here!r} here")
    for name, digest in content["files"].items():
        path = place / name
        if not path.is_file():
            raise UserError(f"{name} is missing")
        if fingerprint(path) != digest:
            raise UserError(f"{name} was changed: its hash is not that of {CONTENT}")
    heads = {}
    for name, stood in content["records"]["files"].items():
        path = run / name
        heads[name] = path.read_bytes()[: stood["bytes"]] if path.is_file() else b""
        if hashlib.sha256(heads[name]).hexdigest() != stood["sha256"]:
            raise UserError(f"{name} is not what it was then")
    return heads
