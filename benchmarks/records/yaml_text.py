"""YAML as this package reads it, in suites and locks: bounded, and every fault in it one message."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from ppo_vs_grpo.tasks.errors import UserError, shown

MOST_NODES, DEEPEST = 100_000, 50
"""A document has no more values than this, aliases written out, and none nested deeper."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 5e-4 as a number; it refuses a key written twice, and what grows without bounds."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _written_out(node, {}, 0)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception:  # its conversions raise what they like: !!int x, 2026-13-01
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"{shown(node.value)} is no {kind}", node.start_mark
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                mark = node.value[position][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} twice", mark)
        return super().construct_mapping(node, deep)


def _written_out(node: yaml.Node, counted: dict[int, int], depth: int) -> int:
    """How many values a node stands for with its aliases written out. A few lines of them can stand for billions."""
    if id(node) not in counted:
        if depth > DEEPEST:
            raise yaml.constructor.ConstructorError(
                None, None, f"more than {DEEPEST} levels of nesting", node.start_mark
            )
        inner = node.value if isinstance(node, yaml.CollectionNode) else ()
        parts = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
        counted[id(node)] = 1 + sum(_written_out(part, counted, depth + 1) for part in parts)
    if counted[id(node)] > MOST_NODES:
        raise yaml.constructor.ConstructorError(
            None, None, f"more than {MOST_NODES:,} values, aliases written out", node.start_mark
        )
    return counted[id(node)]


_EXPONENT = re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def parse_yaml(text: str, source: str) -> Any:
    """What a document holds. Raises UserError, which begins with `source`, for what is no YAML."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{source}{line}: not YAML ({what})") from None
    except RecursionError:
        raise UserError(f"{source}: not YAML (more than {DEEPEST} levels of nesting)") from None
