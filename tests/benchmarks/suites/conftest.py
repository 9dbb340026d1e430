"""A suite file for the tests of suites."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite_files import SUITE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE)
    return path
