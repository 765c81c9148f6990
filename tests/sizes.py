"""How large things are, and whether modules import each other in circles: `python -m tests.sizes`, in `make check`.

Prints the largest of each kind, and fails on what is larger than it may be. Migrations, which nobody changes once they
are released, are let off; so are files that hold nothing but a table.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("switchyard", "registry", "gateway", "trainer", "loadtest", "dashboard", "telemetry", "tests")
LIMITS = {"lines of a file": 400, "lines of a function": 60, "parameters": 8, "methods of a class": 20}
LET_OFF = ("registry/migrations/",)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Size:
    """One thing and how large it is; `of` is a key of `LIMITS`."""

    of: str
    number: int
    where: str


NOTHING = Size("", 0, "nowhere")


def sizes_of(path: Path, root: Path) -> Iterator[Size]:
    """Everything in one module that has a limit."""
    name = str(path.relative_to(root))
    text = path.read_text()
    yield Size("lines of a file", len(text.splitlines()), name)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Function):
            where = f"{name}:{node.lineno} {node.name}"
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert node.end_lineno is not None
            yield Size("lines of a function", node.end_lineno - node.lineno + 1, where)
            if not _is_of_a_framework(node):
                yield Size("parameters", sum(one.arg not in ("self", "cls") for one in given), where)
        elif isinstance(node, ast.ClassDef):
            methods = sum(isinstance(one, Function) for one in node.body)
            yield Size("methods of a class", methods, f"{name}:{node.lineno} {node.name}")


def _is_of_a_framework(node: Function) -> bool:
    """Whether its parameters are options of a command or fields of a query, which are as many as people may give."""
    given = ast.unparse(node.args)
    return bool(node.decorator_list) or "typer.Option(" in given or "typer.Argument(" in given


def modules(root: Path) -> dict[str, Path]:
    """Dotted name → file, of everything in a checkout that is ours."""
    found = {}
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of ours that one imports when it is imported itself."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:  # functions import later, TYPE_CHECKING never
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found & known.keys()


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules each of which imports all others by some way (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            position = stack.index(name)
            found.append(sorted(stack[position:]))
            del stack[position:]

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return [group for group in found if len(group) > 1]


def main(root: Path = ROOT) -> int:
    """Print the largest of each kind and every fault; the number of faults, at most 100, is the exit status."""
    known = modules(root)
    sizes = [size for path in known.values() for size in sizes_of(path, root) if not _let_off(path, root)]
    too_large = [size for size in sizes if size.number > LIMITS[size.of]]
    for kind, limit in LIMITS.items():
        largest = max((size for size in sizes if size.of == kind), key=lambda size: size.number, default=NOTHING)
        sys.stdout.write(f"{kind}: at most {limit}; the largest is {largest.number}, {largest.where}\n")
    for size in sorted(too_large, key=lambda size: (size.of, -size.number)):
        sys.stdout.write(f"too large: {size.number} {size.of}: {size.where}\n")
    rings = circles({name: imports_of(path, known) - {name} for name, path in known.items()})
    for ring in rings:
        sys.stdout.write(f"these import each other: {', '.join(ring)}\n")
    return min(len(too_large) + len(rings), 100)


def _let_off(path: Path, root: Path) -> bool:
    return str(path.relative_to(root)).startswith(LET_OFF)


if __name__ == "__main__":
    sys.exit(main())
