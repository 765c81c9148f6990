"""Of the tests themselves: each asserts something, and no wait of theirs is without an end."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
Function = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
ASSERTING = {"fail", "raises", "warns", "raise_for_status"}
"""Calls by which a test asserts; so do functions of ours that assert."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    """Of each file, one at a time: whoever collects garbage would look at a million nodes again and again."""
    for path in sorted(TESTS.rglob("*.py")):
        yield str(path.relative_to(TESTS)), ast.parse(path.read_text())


def inner(node: ast.AST) -> Iterator[ast.AST]:
    """Statements right in it, and what has some, such as handlers: an expression has none."""
    for block in BLOCKS:
        yield from getattr(node, block, ())


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """It, and all in it, in whatever depth."""
    todo = [node]
    while todo:
        yield (one := todo.pop())
        todo.extend(inner(one))


def called(node: ast.AST) -> set[str]:
    """Last names of all that is called in it."""
    functions = [one.func for one in ast.walk(node) if isinstance(one, ast.Call)]
    return {
        one.id if isinstance(one, ast.Name) else one.attr
        for one in functions
        if isinstance(one, ast.Name | ast.Attribute)
    }


class Seen(NamedTuple):
    """What is to be known of a function."""

    name: str
    where: str
    asserts: bool
    calls: set[str]
    """Of one that asserts itself nobody asks: none."""


def functions() -> Iterator[Seen]:
    for file, tree in trees():
        for node in statements(tree):
            if isinstance(node, Function):
                asserts = any(isinstance(one, ast.Assert) for one in statements(node))
                yield Seen(node.name, f"{file}:{node.lineno} {node.name}", asserts, set() if asserts else called(node))


def test_every_test_asserts_something() -> None:
    every = list(functions())
    helpers = [one for one in every if not one.name.startswith("test_")]
    asserting = ASSERTING | {one.name for one in helpers if one.asserts}
    while more := {one.name for one in helpers if one.name not in asserting and one.calls & asserting}:
        asserting |= more
    tests = [one for one in every if one.name.startswith("test_")]
    assert not [one.where for one in tests if not one.asserts and not one.calls & asserting]


def test_every_wait_has_an_end() -> None:
    """A loop that only sleeps, or does nothing, is what `tests.support.waiting` is for; or it is in a time limit."""
    assert not [
        f"{name}:{loop.lineno} while {ast.unparse(loop.test)}" for name, tree in trees() for loop in endless(tree)
    ]


def endless(node: ast.AST) -> Iterator[ast.While]:
    if isinstance(node, ast.AsyncWith) and any("timeout" in called(item) for item in node.items):
        return
    if isinstance(node, ast.While) and all(map(only_waits, node.body)) and "monotonic" not in called(node):
        yield node
    for one in inner(node):
        yield from endless(one)


def only_waits(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass | ast.Assert) or (
        isinstance(statement, ast.Expr) and called(statement) == {"sleep"}
    )
