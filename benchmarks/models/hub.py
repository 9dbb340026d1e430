"""Models from the Hugging Face hub, by name and revision: `org/name@revision`. Start models and reward models.

A revision becomes a commit when a suite is resolved, so that a run's spec says which weights it had. Files are
downloaded when the start model is made, those of reward models before the first run. The hub's own cache keeps them; a
start model's folder links to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from ppo_vs_grpo.benchmarks.models import admission
from ppo_vs_grpo.benchmarks.models.saved import READ, has_weights, read_files
from ppo_vs_grpo.benchmarks.models.start import Start
from ppo_vs_grpo.tasks.errors import UserError

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./+-]+)?")
COMMIT = re.compile(r"[0-9a-f]{40}")
MAIN = "main"

LEFT_OUT = ("*/*", "consolidated*")
"""Copies of the weights in other formats, in folders or under Mistral's name for them."""

TIMEOUT_S = 10


def find(start: str) -> Start:
    """A model of the hub. Its digest is its commit. UserError where that cannot be learned."""
    name = at_commit(start)
    repository, _, commit = name.partition("@")
    return Start(name, commit, Path(f"{repository.replace('/', '--')}.{commit[:12]}"), partial(_make, name))


def at_commit(model: str, key: str = "start") -> str:
    """The model's name with the commit of its revision. UserError, beginning with the key, where it is not known."""
    repository, _, revision = model.partition("@")
    commit = revision if COMMIT.fullmatch(revision) else commit_of(repository, revision or MAIN, key)
    return f"{repository}@{commit}"


def is_name(model: str) -> bool:
    """Whether this names a model of the hub, and no folder here."""
    return NAME.fullmatch(model) is not None and not Path(model).expanduser().is_dir()


def download(name: str, key: str = "start") -> Path:
    """The hub's own folder with the files of `org/name@commit` that a run reads, downloaded unless they are there."""
    from huggingface_hub import snapshot_download

    repository, _, commit = name.partition("@")
    with _explained(repository, commit, key):
        return Path(
            snapshot_download(repository, revision=commit, allow_patterns=list(READ), ignore_patterns=list(LEFT_OUT))
        )


@cache
def commit_of(repository: str, revision: str, key: str = "start") -> str:
    """The commit of a revision: the hub's answer, or what its cache remembers where the hub cannot be reached."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.file_download import repo_folder_name

    known = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repository, repo_type="model"), "refs", revision)
    with _explained(repository, revision, key):
        try:
            answer = HfApi().model_info(repository, revision=revision, timeout=TIMEOUT_S)
        except _unreachable() as error:
            if not known.is_file():
                raise LocalEntryNotFoundError(str(error)) from error
            return known.read_text(encoding="utf-8").strip()
    if answer.sha is None:
        raise UserError(f"{key}: '{repository}@{revision}': the hub names no commit; name one yourself, after the @")
    return answer.sha


def _make(name: str, folder: Path, cache: Path) -> None:
    """Download the files that make a start model, and link to them."""
    snapshot = download(name)
    if not has_weights(snapshot):
        raise UserError(
            f"start: {name!r}: this revision has no safetensors; other formats are pickled, and reading them would run "
            "what they hold"
        )
    for file in read_files(snapshot):
        (folder / file.name).symlink_to(file.absolute())
    admission.check(name, folder)


def _unreachable() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises where no answer comes: no network, offline mode, a server that is down."""
    import httpx2  # huggingface_hub's own client
    from huggingface_hub.errors import OfflineModeIsEnabled

    return (httpx2.TransportError, OfflineModeIsEnabled)


@contextmanager
def _explained(repository: str, revision: str, key: str) -> Iterator[None]:
    """Turn the hub's errors into one message each."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    silent: tuple[type[Exception], ...] = (LocalEntryNotFoundError, *_unreachable())
    asked = f"{key}: '{repository}@{revision}'"
    try:
        yield
    except GatedRepoError:
        raise UserError(
            f"{asked}: this model is gated: accept its terms on the hub, then set HF_TOKEN (or `hf auth login`)"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{asked} is neither a folder here nor a model of the hub; for one that is private set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise UserError(f"{asked}: the hub has this model, but no revision {revision!r} of it") from None
    except silent as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise UserError(_odd(asked, error.__cause__)) from None
        raise UserError(
            f"{asked} is no folder here, and the hub cannot be reached (no network, or HF_HUB_OFFLINE is set), nor has "
            "its cache this revision; fetch it once with a network, or name a folder"
        ) from None
    except HfHubHTTPError as error:
        raise UserError(_odd(asked, error)) from None


def _odd(asked: str, error: Exception) -> str:
    return f"{asked}: the hub answers: {str(error).splitlines()[0]}"
