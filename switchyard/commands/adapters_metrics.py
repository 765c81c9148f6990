"""`switchyard adapters metrics`: what is looked for in an adapter's answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from registry.errors import InvalidInput
from registry.names import parse_whole_adapter
from switchyard.console import actor, print_done, print_json, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.outcomes.forms import AnswerChecks

metrics = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Say what is looked for in an adapter's answers."
)
Adapter = typer.Argument(help="tenant/adapter.")


@metrics.command("set")
def set_metrics(
    name: str = Adapter,
    schema: Path | None = typer.Option(None, "--schema", help="File with a JSON schema that answers should follow."),
    pattern: str | None = typer.Option(
        None, "--pattern", help="Regular expression that should match all of an answer."
    ),
    share: float = typer.Option(
        0.0, "--share", help="Of the answers, 0 to 1, is looked at while no experiment runs; in one all are."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Look for a form in an adapter's answers: the metric `conformance`. What was set before is replaced."""
    from registry.outcomes.forms import AnswerChecks

    ref = parse_whole_adapter(name)
    checks = AnswerChecks(share, pattern, None if schema is None else _schema(schema)).checked()
    with open_registry() as registry:
        registry.answer_checks.set(ref, checks, actor=actor())
    print_done({"adapter": ref.adapter_name, **checks.document}, f"{ref.adapter_name}: {_said(checks)}", json_output)


@metrics.command("show")
def show_metrics(name: str = Adapter, json_output: bool = JsonFlag) -> None:
    """Show what is looked for in an adapter's answers."""
    ref = parse_whole_adapter(name)
    with open_registry() as registry:
        checks = registry.answer_checks.get(ref)
    if json_output:
        print_json({"adapter": ref.adapter_name, "checks": None if checks is None else checks.document})
    else:
        say(f"{ref.adapter_name}: {_said(checks)}")


@metrics.command("clear")
def clear_metrics(name: str = Adapter, json_output: bool = JsonFlag) -> None:
    """Look for no form any more, and at answers in experiments alone."""
    ref = parse_whole_adapter(name)
    with open_registry() as registry:
        registry.answer_checks.set(ref, None, actor=actor())
    print_done({"adapter": ref.adapter_name, "checks": None}, f"{ref.adapter_name}: {_said(None)}", json_output)


def _schema(file: Path) -> Any:
    try:
        schema = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as failed:
        told = f"schema is {str(file)!r}, which is no JSON that can be read ({failed}); name a file with a JSON schema"
        raise InvalidInput(told, param="schema") from failed
    if not isinstance(schema, dict):
        raise InvalidInput(f"schema is {str(file)!r}, which holds no object; name a JSON schema", param="schema")
    return schema


def _said(checks: AnswerChecks | None) -> str:
    if checks is None:
        return "answers are looked at in experiments alone, and no form is asked for"
    forms = [
        *([] if checks.schema is None else ["follow a JSON schema"]),
        *([] if checks.pattern is None else [f"match {checks.pattern}"]),
    ]
    asked = " and ".join(forms) if forms else "have any form"
    return f"{checks.share:.0%} of the answers are looked at, all of them in experiments; they should {asked}"
