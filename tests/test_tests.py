"""Of the tests themselves: each asserts something, and no wait of theirs is without an end."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
Function = ast.FunctionDef | ast.AsyncFunctionDef
ASSERTING = {"fail", "raises", "warns", "raise_for_status"}
"""Calls by which a test asserts; so do functions of ours that assert."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(TESTS.rglob("*.py")):
        yield str(path.relative_to(TESTS)), ast.parse(path.read_text())


def called(node: ast.AST) -> set[str]:
    """Last names of all that is called in it."""
    functions = [one.func for one in ast.walk(node) if isinstance(one, ast.Call)]
    return {
        one.id if isinstance(one, ast.Name) else one.attr
        for one in functions
        if isinstance(one, ast.Name | ast.Attribute)
    }


def functions_in(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def test_every_test_asserts_something() -> None:
    every = {name: functions_in(tree) for name, tree in trees()}
    helpers = [one for found in every.values() for one in found if not one.name.startswith("test_")]
    asserting = ASSERTING | {one.name for one in helpers if any(isinstance(node, ast.Assert) for node in ast.walk(one))}
    while more := {one.name for one in helpers if one.name not in asserting and called(one) & asserting}:
        asserting |= more
    assert not [
        f"{name}:{one.lineno} {one.name}"
        for name, found in every.items()
        for one in found
        if one.name.startswith("test_")
        and not any(isinstance(node, ast.Assert) for node in ast.walk(one))
        and not called(one) & asserting
    ]


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
    for child in ast.iter_child_nodes(node):
        yield from endless(child)


def only_waits(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass | ast.Assert) or (
        isinstance(statement, ast.Expr) and called(statement) == {"sleep"}
    )
