"""The check of sizes and import circles finds what it is there for, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sizes import LIMITS, main


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def function(name: str, lines: int, parameters: int = 0) -> str:
    head = f"def {name}({', '.join(f'p{number}' for number in range(parameters))}):\n"
    return head + "    pass\n" * (lines - 1)


def faults(root: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    status = main(root)
    found = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("too large", "these"))]
    assert status == len(found)
    return found


def test_what_is_as_large_as_it_may_be_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "gateway/__init__.py", "")
    write(tmp_path, "gateway/one.py", "\n" * LIMITS["lines of a file"])
    write(tmp_path, "gateway/two.py", function("f", LIMITS["lines of a function"], LIMITS["parameters"]))
    methods = "".join(f"    def m{number}(self): ...\n" for number in range(LIMITS["methods of a class"]))
    write(tmp_path, "gateway/three.py", f"class C:\n{methods}")
    assert faults(tmp_path, capsys) == []


def test_each_thing_that_is_too_large_is_named_with_its_size_and_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "gateway/one.py", "\n" * 401)
    write(tmp_path, "registry/two.py", function("f", 61) + function("g", 2, 9))
    write(tmp_path, "tests/three.py", "class C:\n" + "".join(f"    def m{number}(self): ...\n" for number in range(21)))
    write(tmp_path, "registry/migrations/versions/0001.py", "\n" * 1_000)
    assert faults(tmp_path, capsys) == [
        "too large: 401 lines of a file: gateway/one.py",
        "too large: 61 lines of a function: registry/two.py:1 f",
        "too large: 21 methods of a class: tests/three.py:1 C",
        "too large: 9 parameters: registry/two.py:62 g",
    ]


def test_options_of_a_command_are_no_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "switchyard/one.py", f"@app.command()\n{function('f', 2, 9)}")
    assert faults(tmp_path, capsys) == []


def test_modules_that_import_each_other_by_some_way_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "gateway/a.py", "import gateway.b\n")
    write(tmp_path, "gateway/b.py", "from gateway import c\n")
    write(tmp_path, "gateway/c.py", "from gateway.a import x\n")
    write(tmp_path, "gateway/d.py", "import gateway.a\n")
    assert faults(tmp_path, capsys) == ["these import each other: gateway.a, gateway.b, gateway.c"]


def test_what_a_function_imports_when_it_is_called_makes_no_circle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "gateway/a.py", "import gateway.b\n")
    write(tmp_path, "gateway/b.py", "def f():\n    import gateway.a\n")
    assert faults(tmp_path, capsys) == []
