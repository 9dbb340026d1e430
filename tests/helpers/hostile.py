"""Completions that break scorers: huge, deep, unbalanced, in other digits, or bait for what reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

LONG = 10**6
"""Characters of the longest texts."""

DEEP = 100_000
"""Levels of the deepest nesting."""

ZEROS = "0\uff10\u0660\u0ce6\U0001d7ce"
"""The zeros of ASCII, fullwidth, Arabic-Indic, Kannada and mathematical bold digits; nine more stand behind each."""

DIGITS = (*("".join(chr(ord(zero) + n) for n in range(10)) for zero in ZEROS), "\u2070\xb9\xb2\xb3\u2074\u2075")
"""Digits by script, superscripts at the end."""

INVISIBLE = ("\u202e", "\u200f", "\u2066", "\u200b", "\ufeff", "\x00", "\ud800", "\udfff", "\x1b[31m", "\x1b]0;x\x07")
"""Marks of direction, characters without width, NUL, halves of pairs, commands to a terminal."""

FIXED = (
    *("", " ", "\n", "\x00", "nan", "NaN", "inf", "-inf", "Infinity", "1e999", "-1e999", "1e-999", "0/0", "1/0"),
    *("9**9**9**9", "9^9^9^9", "10^{10^{10^{10}}}", "2^{2^{2^{2^{2^{2}}}}}", "99999999!", "((999!)!)!"),
    *(r"\binom{10^9}{10^8}", r"\sqrt[10^{9}]{2}", r"\int_0^{\infty} e^{x^x} dx", r"\sum_{n=1}^{10^{12}} n^n"),
    *(r"\prod_{n=1}^{\infty} n", r"\lim_{x\to\infty} x^x", r"\frac{1}{0}", r"\frac{\frac{\frac", r"\left(\right)"),
    *(r"\boxed", r"\boxed{", r"\boxed{}", "}}}}}}", "$$$$$$", "$", "####", "#### ", r"\begin{pmatrix} 1 & 2 \\ 3"),
    *("<script>alert(1)</script>", "<answer>", "</answer><answer>", "<answer></answer>", r"\text{\text{\text{"),
    *("__import__('os').abort()", "exit()", "lambda: 0", "{0.__class__}", "%s%s%n", "'; DROP TABLE runs; --", "None"),
    *("(x+1)^{99999}", "\ud83d", "\udc00\ud83d", "x" * 4300 + "=1", "1" * 4301, "1/" + "3" * 299),
)
"""Short texts, each an idea of its own."""


LATEX = ("\\frac", "\\sqrt", "\\left(", "\\right)", "\\boxed{", "\\\\", *"{}^_1x$&!=")


def hostile(seed: int, count: int) -> Iterator[str]:
    """So many hostile texts, always the same ones for a seed: those of FIXED, then drawn ones of every kind in turn."""
    rng = np.random.default_rng(seed)
    yield from FIXED[:count]
    for i in range(count - len(FIXED)):
        text = KINDS[i % len(KINDS)](rng)
        yield _wrapped(text, rng) if rng.random() < 0.3 else text


def _wrapped(text: str, rng: np.random.Generator) -> str:
    """The text where scorers look for an answer."""
    form = ("<answer>{}</answer>", "\\boxed{{{}}}", "#### {}", "${}$", "The answer is {}.")[int(rng.integers(5))]
    return form.format(text)


def _many(rng: np.random.Generator, most: int) -> int:
    """A number of which every order of magnitude up to `most` is about as likely."""
    return int(np.exp(rng.uniform(0, np.log(most))))


def _of(rng: np.random.Generator, texts: str | tuple[str, ...], most: int) -> str:
    return "".join(texts[i] for i in rng.integers(0, len(texts), _many(rng, most)))


def _digits(rng: np.random.Generator) -> str:
    return _of(rng, DIGITS[int(rng.integers(2))], LONG)


def _foreign(rng: np.random.Generator) -> str:
    return _of(rng, DIGITS[int(rng.integers(1, len(DIGITS)))] + "+-*/.,=", 1000)


def _nested(rng: np.random.Generator) -> str:
    left, right = (("(", ")"), ("{", "}"), ("[", "]"), ("\\frac{", "}{2}"), ("\\sqrt{", "}"), ("-", ""), ("x^{", "}"))[
        int(rng.integers(7))
    ]
    depth = _many(rng, DEEP)
    return left * depth + "1" + right * (depth - int(rng.integers(0, 2)) * _many(rng, depth + 1))


def _latex(rng: np.random.Generator) -> str:
    return _of(rng, LATEX, 3000)


def _invisible(rng: np.random.Generator) -> str:
    return _of(rng, (*INVISIBLE, "1", "2", "+", " "), 1000)


def _power(rng: np.random.Generator) -> str:
    sign = ("**", "^", "!", "e", "E+", "\\cdot 10^")[int(rng.integers(6))]
    return sign.join(str(9 * 10 ** int(rng.integers(12))) for _ in range(int(rng.integers(2, 9))))


def _bait(rng: np.random.Generator) -> str:
    """What sends a regular expression back again and again: something repeated, and an end that does not fit."""
    units = (
        "123,",
        ",123",
        "1.",
        "1/",
        "-$",
        "a",
        " ",
        "#### ",
        "<answer>",
        "\\boxed{",
        "1 ",
        "+-",
        "\n",
        "$1,",
        "(1+",
    )
    return units[int(rng.integers(len(units)))] * _many(rng, LONG // 4) + ("", "x", "!", "\x00")[int(rng.integers(4))]


def _expression(rng: np.random.Generator) -> str:
    return _of(rng, ("1", "9", "+", "-", "*", "/", "**", "(", ")", "x", " ", "%", "//", "<<", "~", "="), 2000)


KINDS: tuple[Callable[[np.random.Generator], str], ...] = (
    _digits, _foreign, _nested, _latex, _invisible, _power, _bait, _expression,
)  # fmt: skip
