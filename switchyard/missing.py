"""A command that lacks several of what it needs says all of them at once, not one a try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import typer


def name_all_missing(command: Any) -> None:
    """Let a click command, or every command of a group, do so."""
    for below in getattr(command, "commands", {}).values():
        name_all_missing(below)
    if not hasattr(command, "commands"):
        command.parse_args = _telling(command, command.parse_args)


def _telling(command: Any, parse: Callable[[Any, list[str]], list[str]]) -> Callable[[Any, list[str]], list[str]]:
    @wraps(parse)
    def parsed(context: Any, args: list[str]) -> list[str]:
        typed = list(args)  # click empties the one it gets
        try:
            return parse(context, args)
        except typer.BadParameter:
            missing = _missing(command, context, typed)
            if len(missing) < 2:
                raise
            *most, last = missing
            return context.fail(f"Missing {', '.join(most)} and {last}.")  # type: ignore[no-any-return]

    return parsed


def _missing(command: Any, context: Any, typed: Sequence[str]) -> list[str]:
    """What has to be typed and was not, as it is typed."""
    given, _, _ = command.make_parser(context).parse_args(args=list(typed))
    return [
        f"'{max(parameter.opts, key=len)}'"
        for parameter in command.params
        if parameter.required and parameter.value_is_missing(parameter.consume_value(context, given)[0])
    ]
