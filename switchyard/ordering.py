"""Commands that write the registry are orders of who is at the keyboard: each is in the audit log, with its outcome.

A command is an order from its first write on; one that only reads leaves no line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any

import typer

from registry.audit.naming import about_of, tenant_of
from registry.audit.order import CURRENT, Order, Ordered
from registry.errors import RegistryError
from switchyard.console import actor, say

if TYPE_CHECKING:
    from registry.audit.order import Outcome


def write_down_orders(command: Any) -> None:
    """Let a click command, or every command of a group, be in the audit log when it writes."""
    for below in getattr(command, "commands", {}).values():
        write_down_orders(below)
    if not hasattr(command, "commands"):
        command.invoke = _ordering(command.invoke)


def _ordering(invoke: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(invoke)
    def ordered(context: Any) -> Any:
        order = Order(_at_keyboard(context))
        token = CURRENT.set(order)
        try:
            result = invoke(context)
        except BaseException as error:
            _end(order, *_outcome_of(error))
            raise
        finally:
            CURRENT.reset(token)
        _end(order, "done", None)
        return result

    return ordered


def _at_keyboard(context: Any) -> Ordered:
    words, params, above = [], _typed(context), context
    while above.parent is not None:  # the outermost is this program, however it is called
        words.append(above.info_name or "")
        above = above.parent
    about = about_of({}, params) or next(iter(map(str, params.values())), "")
    return Ordered(
        actor=actor(),
        via="command",
        route=" ".join(["switchyard", *reversed(words)]),
        object=about,
        tenant=tenant_of(about, params),
        body=params,
    )


def _typed(context: Any) -> Mapping[str, Any]:
    """The parameters that were given, the arguments first."""
    given = [one for one in context.command.params if _was_typed(context.get_parameter_source(one.name))]
    given.sort(key=lambda one: one.param_type_name != "argument")
    return {one.name: context.params.get(one.name) for one in given}


def _was_typed(source: Any) -> bool:
    return source is not None and source.name == "COMMANDLINE"


def _outcome_of(error: BaseException) -> tuple[Outcome, str | None]:
    if isinstance(error, typer.Exit):
        return ("done", None) if error.exit_code == 0 else ("failed", f"exit status {error.exit_code}")
    if isinstance(error, RegistryError | typer.BadParameter):
        return "refused", error.message
    return "failed", type(error).__name__


def _end(order: Order, outcome: Outcome, error: str | None) -> None:
    if order.seq is None:
        return
    from sqlalchemy.exc import SQLAlchemyError

    try:
        db = order.end(outcome, error=error)
    except SQLAlchemyError as fault:  # the command has done what it could; its order stays without an outcome
        say(f"the audit log was not told that order {order.seq} is {outcome}: {fault}", err=True)
        return
    if db is not None:
        db.close()  # the command's own block has ended, and this was one more connection
