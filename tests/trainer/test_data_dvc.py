"""A `.dvc` file stands for the rows that it names, where they are, or says how to get them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from trainer.data.faults import DataError
from trainer.data.read import read_data

ROWS = b"".join(json.dumps({"prompt": str(number), "completion": "b"}).encode() + b"\r\n" for number in range(3))
MD5 = hashlib.md5(ROWS).hexdigest()


def reference(folder: Path, md5: str = MD5, more: str = "  hash: md5\n", path: str = "d.jsonl") -> Path:
    file = folder / "d.jsonl.dvc"
    file.write_text(f"outs:\n- md5: {md5}\n  size: {len(ROWS)}\n{more}  path: {path}\n")
    return file


def code_of(file: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_data(file, "auto")
    return caught.value.faults[0].code


def test_what_lies_beside_the_reference_is_read(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(ROWS)
    data = read_data(reference(tmp_path), "auto")
    assert (data.rows, data.digest) == (3, hashlib.sha256(ROWS).hexdigest())
    unix = hashlib.md5(ROWS.replace(b"\r\n", b"\n")).hexdigest()
    assert read_data(reference(tmp_path, unix, more=""), "auto").rows == 3
    assert code_of(reference(tmp_path, unix)) == "dvc_changed"


@pytest.mark.parametrize("place", ["cache/files/md5", "cache", "../elsewhere/files/md5"])
def test_what_is_in_the_cache_is_read(tmp_path: Path, place: str) -> None:
    repository = tmp_path / "repository"
    cached = repository / ".dvc" / place / MD5[:2] / MD5[2:]
    (repository / ".dvc").mkdir(parents=True)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(ROWS)
    if "elsewhere" in place:
        (repository / ".dvc" / "config").write_text("[cache]\n    dir = ../elsewhere\n")
    (repository / "data").mkdir()
    assert read_data(reference(repository / "data"), "auto").rows == 3
    cached.write_bytes(ROWS + b"{}")
    assert code_of(repository / "data" / "d.jsonl.dvc") == "dvc_changed"


def test_what_was_not_pulled_is_said_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\[dvc_not_pulled\].*`dvc pull d\.jsonl\.dvc`"):
        read_data(reference(tmp_path), "auto")


def test_rows_that_changed_since_are_not_used(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(ROWS + b"{}")
    assert code_of(reference(tmp_path)) == "dvc_changed"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "outs: 3",
        "outs: []",
        "outs:\n- path: a",
        "outs:\n- md5: a\n  path: b\n- md5: c\n  path: d",
        "{[",
        "!!python/x 1",
        "\0",
    ],
)
def test_what_is_no_reference_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "d.dvc"
    file.write_text(text)
    assert code_of(file) == "dvc_reference"


def test_folders_and_missing_references_are_said(tmp_path: Path) -> None:
    assert code_of(reference(tmp_path, "abc.dir")) == "dvc_folder"
    assert code_of(tmp_path / "none.dvc") == "unreadable"
