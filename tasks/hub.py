"""Rows of a Hugging Face dataset, by its name on the hub or from a folder in the hub's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppo_vs_grpo.tasks.errors import UserError, nearest
from ppo_vs_grpo.tasks.tables import Row


class Splits:
    """The splits of a dataset by name. Rows are read when they are asked for."""

    def __init__(self, source: str, config: str | None, revision: str | None) -> None:
        self._source = source
        self._splits: Mapping[str, Any] = _loaded(source, config, revision)

    def names(self) -> list[str]:
        """The names of the splits."""
        return list(self._splits)

    def rows(self, option: str, split: str) -> list[Row]:
        """The rows of a split as plain Python values. Raises UserError for an unknown or an empty one."""
        if split not in self._splits:
            raise UserError(f"options.{option}: {self._source} has no split {split!r}; {nearest(split, self._splits)}")
        rows: list[Row] = self._splits[split].to_list()
        if not rows:
            raise UserError(f"options.{option}: {self._source}: its split {split!r} should have rows, and has none")
        return rows


def _loaded(source: str, config: str | None, revision: str | None) -> Mapping[str, Any]:
    """What `datasets` downloads, or has in its cache where the hub cannot be reached."""
    import datasets

    at = f"options.source: {source!r}"
    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        return dict(datasets.load_dataset(source, config, revision=revision))
    except datasets.exceptions.DatasetNotFoundError as error:
        if "gated" in str(error):
            raise UserError(f"{at}: a gated dataset: ask for access on its page, then run `hf auth login`") from None
        if "Revision" in str(error):
            raise UserError(f"options.revision: {revision!r}: {source} has no such revision") from None
        raise UserError(
            f"{at}: there is no such dataset on the hub, or it is private; and no such folder {Path(source).absolute()}"
        ) from None
    except ConnectionError:
        raise UserError(
            f"{at}: the hub cannot be reached, and the cache {datasets.config.HF_DATASETS_CACHE} does not have the "
            "dataset; load it once with a connection, or name files"
        ) from None
    except Exception as error:  # whatever readers and connections raise is about the user's data
        told = " ".join(str(error).split())
        if (config is None and "Config name is missing" in told) or (config is not None and config in told):
            raise UserError(f"options.config: {config!r}: {source} has no such configuration ({told})") from None
        raise UserError(f"{at}: cannot be loaded: {told}") from None
    finally:
        if not shown:
            datasets.enable_progress_bars()
