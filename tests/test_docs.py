"""Every path, module, class and function that the documentation names in backticks is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", "results/README.md", *(f"docs/{page.name}" for page in ROOT.glob("docs/*.md"))]
FOLDERS = ("tasks", "algorithms", "benchmarks", "results", "tests", "docs", ".ci")
ROOMS = FOLDERS[:3]
README_LINES = 90
FENCES = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
PATH = re.compile(rf"((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*|[\w*/-]+\.py)(?::(\w+))?")
DOTTED = re.compile(r"(?:python -m )?((?:ppo_vs_grpo\.)?[A-Za-z_]\w*(?:\.\w+)+)(?:\(.*)?")
FILES = ("csv", "ipynb", "json", "jsonl", "log", "lock", "md", "parquet", "toml", "txt", "yaml")
LEFT_BY_RUNS = re.compile(r"results/(?!published|README|analysis)")
Names = dict[str, set[str]]


@cache
def names() -> tuple[Names, Names]:
    """What each module and each class of the package defines; a folder is a module that defines its files."""
    modules: Names = {}
    classes: Names = {}
    for path in chain(*((ROOT / room).rglob("*.py") for room in ROOMS)):
        tree = ast.parse(path.read_text())
        module = path.parent.name if path.stem == "__init__" else path.stem
        modules.setdefault(module, set()).update(defined(tree))
        modules.setdefault(path.parent.name, set()).update({path.stem, module})
        modules.setdefault(path.parent.parent.name, set()).add(path.parent.name)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, set()).update(defined(node))
    return modules, classes


def defined(body: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return found


def there(quoted: str, page: str) -> bool:
    """Whether what stands between backticks leads somewhere; True for what is no name of ours."""
    modules, classes = names()
    if path := PATH.fullmatch(quoted):
        places = [(ROOT, path[1]), (ROOT / Path(page).parent, path[1]), *((ROOT / room, f"**/{path[1]}") for room in ROOMS)]
        files = [file for place, pattern in places for file in place.glob(pattern)]
        return bool(LEFT_BY_RUNS.match(quoted) or files) and not (path[2] and path[2] not in modules[files[0].stem])
    dotted = DOTTED.fullmatch(quoted)
    if not dotted or quoted.endswith(FILES):
        return True
    *before, owner, last = dotted[1].split(".")
    if before and before[0] == "ppo_vs_grpo":
        return ROOT.joinpath(*before[1:], owner).is_dir() or ROOT.joinpath(*before[1:], f"{owner}.py").exists()
    if owner in classes:
        return last in classes[owner]
    return owner not in modules or last in modules[owner] or any(last in fields for fields in classes.values())


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page: str) -> None:
    text = FENCES.sub("", (ROOT / page).read_text())
    assert [link for link in LINK.findall(text) if not (ROOT / page).parent.joinpath(link).exists()] == []
    assert [quoted for quoted in QUOTED.findall(text) if not there(quoted, page)] == []


def test_the_readme_is_a_first_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES
