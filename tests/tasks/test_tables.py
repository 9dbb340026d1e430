"""Rows come out of files as they were written; a file that is wrong is told with its name and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.tables import READERS, is_file, read

TEXTS = ["plain", "Ünïcode: 你好, שלום, 🙂", 'quoted "text", with a comma', "two\nlines", "a separator\u2028inside"]


def write(path: Path, rows: list[dict[str, Any]], start: str = "") -> str:
    """The rows in the format of the file's ending."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        quoted = ['"' + row["prompt"].replace('"', '""') + f'",{row["answer"]}' for row in rows]
        path.write_bytes((start + "prompt,answer\r\n" + "\r\n".join(quoted) + "\r\n").encode())
    elif path.suffix == ".jsonl":
        path.write_text(start + "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n", "utf-8")
    else:
        path.write_text(start + json.dumps(rows, indent=1), "utf-8")
    return str(path)


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("ending", READERS)
def test_every_format_gives_the_rows_that_were_written(tmp_path: Path, ending: str, start: str) -> None:
    rows: list[dict[str, Any]] = [{"prompt": text, "answer": str(i)} for i, text in enumerate(TEXTS)]
    assert read("source", write(tmp_path / f"rows{ending}", rows, start)) == rows


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_values_keep_their_types(tmp_path: Path, ending: str) -> None:
    rows = [{"n": 3, "x": 0.5, "yes": True, "none": None, "list": [{"role": "user", "content": "é"}]}] * 2
    found = read("source", write(tmp_path / f"rows{ending}", rows))
    assert found == rows
    assert [type(value) for value in found[0].values()] == [int, float, bool, type(None), list]


def test_a_path_is_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.jsonl", [{"a": 1}])
    assert read("source", "rows.jsonl") == [{"a": 1}]
    with pytest.raises(UserError) as caught:
        read("test", "data/other.jsonl")
    assert str(caught.value) == f"options.test: 'data/other.jsonl': there is no file {tmp_path}/data/other.jsonl"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"a": 1}\n\n{"a": }\n', ["a.jsonl, line 3: should be a JSON object (Expecting value, column 7)"]),
        ("a.jsonl", b'{"a": 1}\n[1, 2]\n', ["a.jsonl, line 2: should be a JSON object, not [1, 2]"]),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xe9"}\n', ["a.jsonl, near line 2", "should be UTF-8"]),
        ("a.json", b'[{"a": 1},\n {"a": 2},\n]', ["a.json, line 3", "should be JSON"]),
        ("a.json", b'{"a": 1}', ["a.json, line 1", "should be a list of objects", ".jsonl"]),
        ("a.json", b'[{"a": 1}, 7]', ["a.json", "row 2 should be an object, not 7"]),
        ("a.csv", b"a,b\n1,2\n3\n", ["a.csv, line 3: should have 2 fields as the first line, not 1"]),
        ("a.csv", b"a,a\n1,2\n", ["a.csv, line 1", "different names, not a, a"]),
        ("a.csv", b'a,b\n1,"2\n', ["a.csv, line 2", "unexpected end of data"]),
        ("a.csv", b"a,b\n", ["a.csv: should have rows, and has none"]),
        ("a.csv", b"", ["a.csv: should have rows, and has none"]),
        ("a.jsonl", b"\n\n", ["a.jsonl: should have rows, and has none"]),
        ("a.json", b"", ["a.json: should have rows, and has none"]),
        ("a.json", b"[]", ["a.json: should have rows, and has none"]),
        ("a.parquet", b"no parquet", ["a.parquet: cannot be read", "arquet"]),
        ("a.txt", b"text", ["'", "should end in .jsonl, .json, .parquet, .csv"]),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path: Path, name: str, content: bytes, words: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"^options\.source: ") as caught:
        read("source", str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def test_a_csv_field_may_be_long(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text(f"a\n{'x' * 200_000}\n")
    assert len(read("source", str(tmp_path / "long.csv"))[0]["a"]) == 200_000


def test_a_file_is_told_by_its_ending() -> None:
    assert is_file("a.JSONL")
    assert is_file("b/c.csv")
    assert not is_file("openai/gsm8k")
    assert not is_file("org/name-v1.5")
