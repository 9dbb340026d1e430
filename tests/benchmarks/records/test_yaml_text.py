"""YAML that grows without bounds, and values that are not of their tag: one message each."""

from __future__ import annotations

import pytest

from ppo_vs_grpo.benchmarks.records.yaml_text import parse_yaml
from ppo_vs_grpo.tasks.errors import UserError

LAUGHTER = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seeds: 2\na: !!float x", "line 2: not YAML ('x' is no float)"),
        ("a: !!int ''", "line 1: not YAML ('' is no int)"),
        ("a: !!bool x", "line 1: not YAML ('x' is no bool)"),
        ("a: 2026-13-45", "line 1: not YAML ('2026-13-45' is no timestamp)"),
        ("a: 1" + "0" * 5000, "line 1: not YAML ('1" + "0" * 195 + "... is no int)"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        (LAUGHTER, "line 5: not YAML (more than 100,000 values, aliases written out)"),
        ("a: &a [*a]", "line 1: not YAML (more than 50 levels of nesting)"),
        ("a: " + "[" * 51 + "]" * 51, "line 1: not YAML (more than 50 levels of nesting)"),
        ("[" * 5000, "not YAML (more than 50 levels of nesting)"),
        ("a: \0", "not YAML (unacceptable character #x0000: special characters are not allowed in"),
    ],
    ids=range(11),
)
def test_hostile_yaml_is_one_message(text: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "a.yaml")
    assert str(caught.value).startswith("a.yaml")
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_aliases_and_fifty_levels_are_yaml() -> None:
    read = parse_yaml("shared: &shared {a: 1}\none: *shared\ntwo: *shared\ndeep: " + "[" * 48 + "]" * 48, "a.yaml")
    assert read["one"] == read["two"] == {"a": 1}
