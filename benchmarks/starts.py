"""Embedded start models: tiny Hugging Face models made on the spot and taught a task's form.

A start model knows how an answer looks and is sometimes right, so that rewards are neither all 0 nor all 1.
It is built once per size and task, cached by the hash of everything that makes it, and shared by all runs.
Importing this module imports neither torch nor TRL; only building does.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from ppo_vs_grpo.benchmarks import blanks, rewardmodel
from ppo_vs_grpo.benchmarks.spec import TaskChoice
from ppo_vs_grpo.tasks import lengths, make
from ppo_vs_grpo.tasks.base import Task
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.learned import Learned
from ppo_vs_grpo.tasks.splits import demonstrations

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

RECIPE = 1
"""Version of what `_warm_start` does beyond a size's numbers; part of the content hash."""

CACHE_VARIABLE = "PPO_VS_GRPO_CACHE"
CHARACTERS = lengths.CHARACTERS + "\n"


@dataclass(frozen=True, slots=True)
class Size:
    """A Llama shape and its warm start.

    Weights start five times wider than the library's default: with 64 to 256 hidden units the default
    leaves attention uniform for the first hundreds of steps, and a warm start of seconds ends before it
    learns to read the prompt (docs/log.md has the numbers).
    """

    hidden: int
    layers: int
    heads: int
    intermediate: int
    learning_rate: float
    demonstrations: int = 16_000
    steps: int = 400
    batch: int = 128
    initializer_range: float = 0.1


SIZES = {
    "nano": Size(hidden=64, layers=2, heads=4, intermediate=192, learning_rate=5e-3),
    "tiny": Size(hidden=128, layers=4, heads=4, intermediate=384, learning_rate=2e-3),
    "small": Size(hidden=256, layers=6, heads=8, intermediate=704, learning_rate=1e-3),
}


def cache_folder(override: Path | None = None) -> Path:
    """Where start models live: the override, else the environment variable, else the user's cache folder."""
    if override is not None:
        return override.expanduser()
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    return user_cache_path("ppo-vs-grpo") / "starts"


def locate(start: str, choice: TaskChoice, cache: Path) -> Path:
    """The folder of a start model, whether built or not. A path must hold a saved model, else UserError."""
    if start in SIZES:
        return cache / f"{start}.{choice.task.replace(':', '.')}.{_content_hash(start, choice)}"
    if isinstance(make(choice.task, choice.options), Learned):
        raise UserError(
            f"start: {start!r}: a learned reward is taught beside an embedded start model: {', '.join(SIZES)}"
        )
    folder = Path(start).expanduser()
    if (folder / "config.json").is_file():
        return folder
    raise UserError(
        f"start: {start!r} is neither an embedded size ({', '.join(SIZES)}) nor a folder "
        "with a model saved by save_pretrained (no config.json in it)"
    )


def digest(start: str, choice: TaskChoice) -> str:
    """What tells two start models apart: the content hash of an embedded one, a hash of the files at a path."""
    if start in SIZES:
        return _content_hash(start, choice)
    folder = locate(start, choice, Path())
    hashes = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        hashes.update(path.name.encode())
        with path.open("rb") as file:
            hashes.update(hashlib.file_digest(file, "sha256").digest())
    return hashes.hexdigest()[:12]


def is_built(folder: Path) -> bool:
    """Whether the folder holds a complete model; folders appear whole, by a rename."""
    return (folder / "config.json").is_file()


def build(start: str, choice: TaskChoice, cache: Path) -> Path:
    """Build an embedded start model unless it is there; several processes may ask at once."""
    from filelock import FileLock

    folder = locate(start, choice, cache)
    if is_built(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{folder}.lock")
        lock.acquire()
    except OSError as error:
        raise UserError(f"cache: cannot write to {cache} ({error.strerror}); choose another with --cache") from error
    with lock:
        if not is_built(folder):
            scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=cache))
            try:
                task = make(choice.task, choice.options)
                if isinstance(task, lengths.Lengths):
                    blanks.make(task, SIZES[start], scratch)
                else:
                    _warm_start(SIZES[start], task, scratch)
                scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per printable ASCII character; pad, begin and end tokens are three different ones."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *CHARACTERS])}
    characters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    characters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=characters,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def untrained(size: Size, characters: PreTrainedTokenizerFast, tied: bool = True) -> LlamaForCausalLM:
    """A Llama of this shape with random weights, always the same ones; `tied`: input and output share an embedding."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(characters),
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        intermediate_size=size.intermediate,
        max_position_embeddings=2048,
        initializer_range=size.initializer_range,
        tie_word_embeddings=tied,
        pad_token_id=characters.pad_token_id,
        bos_token_id=characters.bos_token_id,
        eos_token_id=characters.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config)


def _content_hash(start: str, choice: TaskChoice) -> str:
    return _hash_of_recipe(start, choice.model_dump_json())


@functools.cache
def _hash_of_recipe(start: str, choice_json: str) -> str:
    choice = TaskChoice.model_validate_json(choice_json)
    size = SIZES[start]
    task = make(choice.task, choice.options)
    shown = [] if isinstance(task, lengths.Lengths) else demonstrations(task, size.demonstrations)
    taught = [(problem.prompt, answer) for problem, answer in shown]
    versions = {name: version(name) for name in ("torch", "transformers", "trl")}
    made_of = {"recipe": RECIPE, "size": asdict(size), "characters": CHARACTERS, "taught": taught, "versions": versions}
    if isinstance(task, Learned):
        made_of["reward"] = [rewardmodel.RECIPE, choice_json]
    if isinstance(task, lengths.Lengths):
        made_of["blank"] = [blanks.RECIPE, task.mean_tokens]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]


def _warm_start(size: Size, task: Task, folder: Path) -> None:
    from datasets import Dataset, disable_caching, disable_progress_bars
    from trl import SFTConfig, SFTTrainer

    disable_caching()
    disable_progress_bars()
    characters = tokenizer()
    taught = demonstrations(task, size.demonstrations)
    rows = Dataset.from_list([{"prompt": p.prompt, "completion": answer} for p, answer in taught])
    arguments = SFTConfig(
        output_dir=str(folder / ".trainer"),
        max_steps=size.steps,
        per_device_train_batch_size=size.batch,
        learning_rate=size.learning_rate,
        warmup_steps=size.steps // 10,
        **rewardmodel.TEACHING,
    )
    model = untrained(size, characters)
    callbacks = [rewardmodel.told_steps("")]
    SFTTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=characters, callbacks=callbacks
    ).train()
    model.save_pretrained(folder)
    characters.save_pretrained(folder)
    shutil.rmtree(folder / ".trainer", ignore_errors=True)
    if isinstance(task, Learned):
        for number in range(task.models):
            rewardmodel.teach(task, folder, number)


def main(arguments: list[str] | None = None) -> int:
    """Build one start model and print its folder."""
    parser = argparse.ArgumentParser(prog="python -m ppo_vs_grpo.benchmarks.starts", description=main.__doc__)
    parser.add_argument("start", choices=list(SIZES))
    parser.add_argument("choice", help='the task as JSON, {"task": ..., "options": {...}}')
    parser.add_argument("--cache", type=Path, default=None)
    args = parser.parse_args(arguments)
    try:
        print(build(args.start, TaskChoice.model_validate_json(args.choice), cache_folder(args.cache)))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
