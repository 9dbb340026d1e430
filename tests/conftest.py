"""What every test relies on: nothing from a hub, no display, no terminal's width."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep tests, and the processes that they start, away from networks, displays and the user's settings and cache."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("PPO_VS_GRPO_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    for variable in ("COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
