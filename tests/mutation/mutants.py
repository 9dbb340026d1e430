"""Which mutants there are: one token of the code changed, generated from the token stream, the same set every time."""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

TARGETS: dict[str, tuple[str, ...]] = {
    "advantages.py": (),
    "losses.py": (),
    "rollout/engine.py": (
        "Truncation.__call__",
        "HuggingFaceEngine.generate",
        "HuggingFaceEngine._complete",
        "sample_tokens",
    ),
    "rollout/decoding.py": (
        "decoder",
        "takes_places",
        "GrowingDecoder.prefill",
        "GrowingDecoder._read_prompts",
        "GrowingDecoder.step",
        "PlacesDecoder.prefill",
        "PlacesDecoder.start",
        "PlacesDecoder.step",
    ),
    "trainer.py": (
        "Trainer._update",
        "Trainer._collect",
        "Trainer.context",
        "terminal_value",
        "make_batch",
    ),
    "metrics.py": ("group_spread", "explained_variance"),
    "update.py": ("Learner.set_learning_rate", "update", "_accumulate", "token_sums", "_step"),
    "networks/sequences.py": (
        "Packed.one_later",
        "Packed.asked_of",
        "Packed.unflatten",
        "join",
        "pack",
        "micro_batches",
        "_pieces",
        "_by_length",
        "over_rows",
    ),
    "networks/attention.py": ("rows_of", "read_packed", "inputs", "attention", "_laid_out"),
    "networks/likelihood.py": (
        "likelihood",
        "logp",
        "log_probs",
        "chunk_tokens",
        "_read",
        "_add_gradients",
        "_Output.log_probs",
    ),
    "networks/models.py": ("build", "policy_output", "values"),
    "collector.py": (
        "cost",
        "Collector.sample",
        "Collector.values",
        "varied",
        "first_groups",
        "joined",
        "prefixes",
        "joined_to_heads",
    ),
}
"""The files of algorithms/shared and their mutated functions; () is all of them."""

ONE_IN: dict[str, int] = {"advantages.py": 1, "losses.py": 1}
"""One in how many mutants of a file is run; 2 where it is not said. Which ones depends on the mutant alone."""

SWAPS = {
    **{"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "**": "*", "+=": "-=", "-=": "+="},
    **{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="},
    **{"&": "|", "|": "&", "&=": "|=", "~": "", "and": "or", "or": "and", "not": "", "is": "is not"},
    **{"True": "False", "False": "True", "break": "continue", "continue": "break"},
    **{"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any"},
    **{'"amin"': '"amax"', '"amax"': '"amin"', "low": "high", "high": "low"},
    **{"clip_low": "clip_high", "clip_high": "clip_low", "exp": "expm1", "rsqrt": "sqrt", "sqrt": "square"},
    **{"std": "var", "var": "std", "mean": "sum", "nanmean": "nansum"},
    **{"zeros": "ones", "zeros_like": "ones_like", "ones_like": "zeros_like", "zeros_": "ones_"},
}
"""A token and what takes its place; numbers and the minus sign are seen to in `_after`."""

AFTER_AN_OPERAND = {"+", "-", "*", "**"}
"""Operators that without an operand on the left are something else: a sign or an unpacking."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: the text between two offsets of a file replaced. Lines are stripped, the number counts from 1."""

    file: str
    function: str
    number: int
    before: str
    after: str
    line: str
    mutated: str
    span: tuple[int, int]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it whatever happens elsewhere in the file."""
        return self.file, self.function, self.line, self.mutated

    def apply(self, source: str) -> str:
        """The file with the change made."""
        return source[: self.span[0]] + self.after + source[self.span[1] :]


def selected(folder: Path, files: list[str]) -> list[Mutant]:
    """The mutants of a run, by file and place."""
    return [
        mutant
        for file in files
        for mutant in every(file, (folder / file).read_text(encoding="utf-8"))
        if crc32("|".join(mutant.key).encode()) % ONE_IN.get(file, 2) == 0
    ]


def every(file: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a file's functions, by place."""
    if not source.isascii():
        raise ValueError(f"{file}: has characters beyond ASCII, whose columns the parser counts in bytes")
    lines = source.splitlines(keepends=True)
    starts = [sum(len(line) for line in lines[:number]) for number in range(len(lines) + 1)]
    tree = ast.parse(source)
    kept_out = [_span(node, starts) for node in _untouched(tree)]
    functions = [(name, *_span(node, starts)) for name, node in _functions(tree) if name in (TARGETS[file] or (name,))]
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.string.strip()]
    for at in range(1, len(tokens) - 1):
        start = starts[tokens[at].start[0] - 1] + tokens[at].start[1]
        inside = [name for name, low, high in functions if low <= start < high]
        if not inside or any(low <= start < high for low, high in kept_out):
            continue
        change = _change([t.string for t in tokens[max(0, at - 2) : at + 3]], min(2, at))
        if change is not None:
            before, after = change
            number = tokens[at].start[0]
            low = starts[number - 1]
            line, span = lines[number - 1], (start, start + len(before))
            mutated = line[: start - low] + after + line[span[1] - low :]
            yield Mutant(file, inside[0], number, before, after, line.strip(), mutated.strip().replace("  ", " "), span)


def _change(near: list[str], at: int) -> tuple[str, str] | None:
    """The text at token `at` and its replacement; None where there is none."""
    previous, token, following = near[at - 1], near[at], near[at + 1]
    if token == "-" and not _operand(previous):
        axis = following == "1" and previous in ("(", ",", "=") and near[at + 2] in (")", ",")
        return ("-1", "0") if axis else ("-", "")
    if token in AFTER_AN_OPERAND and not _operand(previous):
        return None
    if token[0].isdigit():
        axis = previous == "-" and not _operand(near[at - 2]) and following in (")", ",")
        return None if axis and token == "1" else (token, _other_number(token))
    if (token == "is" and following == "not") or near[at - 2 : at] == ["strict", "="]:  # zip's own check
        return None
    if token == "sum" and previous == ".":
        return token, "mean"
    return (token, SWAPS[token]) if token in SWAPS else None


def _operand(token: str) -> bool:
    """Whether a token may end an operand."""
    return (
        token in (")", "]", "}")
        or token[0] in "\"'"
        or (
            (token[0].isalnum() or token[0] == "_")
            and (not keyword.iskeyword(token) or token in ("None", "True", "False"))
        )
    )


def _other_number(token: str) -> str:
    if token.isdigit():
        return {"0": "1", "1": "0"}.get(token, str(int(token) + 1))
    return repr(float(token) + 1)


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """The functions and methods by name; a function within one belongs to it."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    yield f"{node.name}.{part.name}", part


def _untouched(tree: ast.Module) -> Iterator[ast.AST]:
    """What no mutant touches: types, decorators, imports, messages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.JoinedStr):
            yield node
        if isinstance(node, ast.FunctionDef):
            yield from (*node.decorator_list, *([node.returns] if node.returns else []))
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation


def _span(node: ast.AST, starts: list[int]) -> tuple[int, int]:
    """From the first to past the last character of a node."""
    low = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
    return low, starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
