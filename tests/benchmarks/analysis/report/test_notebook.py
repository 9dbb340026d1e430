from __future__ import annotations

import os
import warnings
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from checkout import ROOT
from ppo_vs_grpo.benchmarks import load
from synthetic import make_suite, write_results

NOTEBOOK = ROOT / "results" / "analysis.ipynb"


def test_the_notebook_runs_from_top_to_bottom_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_results(tmp_path / "made", make_suite(seeds=8, updates=8, prompts=8))
    monkeypatch.setenv("PPO_VS_GRPO_RESULTS", str(folder))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel brings its own
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    absent = tmp_path / "absent"
    absent.mkdir()
    for name in ("torch", "transformers", "trl", "wandb"):
        (absent / f"{name}.py").write_text("raise ImportError('not an analysis dependency')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(absent), *filter(None, [os.environ.get("PYTHONPATH")])]))
    notebook = nbformat.reads(NOTEBOOK.read_text(), as_version=4)  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the kernel's own machinery
        NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parents[1])}}).execute()
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 4
    (shown,) = [output.data["text/plain"] for output in notebook.cells[1].outputs]
    assert shown == repr(load(folder))
    assert "training  64 of 64 runs finished" in shown
    (verdicts,) = [cell for cell in notebook.cells if cell.id == "verdicts"]
    assert "Final held-out pass rate on " in "".join(str(output) for output in verdicts.outputs)
    (prompts,) = [cell for cell in notebook.cells if cell.id == "prompts"]
    assert [len(output.data["text/html"].split("<tr")) for output in prompts.outputs] == [2 + 10, 2 + 5]


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = nbformat.reads(NOTEBOOK.read_text(), as_version=4)  # type: ignore[no-untyped-call]
    assert [cell.id for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []
