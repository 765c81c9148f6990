"""The pages of `docs/` that are made from code: `python -m switchyard.reference` writes them.

A test holds the files against what this makes, so that no page is behind its code.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from dashboard.settings import DashboardSettings
from gateway.metrics.families import FAMILIES, Of
from gateway.settings import EngineSettings, GatewaySettings
from registry.settings import RegistrySettings
from switchyard.boards import BOARDS
from switchyard.command_line import COMMANDS, command_called
from switchyard.commands.compare_voting import HINT
from switchyard.grafana import dashboard
from switchyard.panels import PairView, picture_of
from telemetry.settings import TelemetrySettings
from trainer.jobs.settings import TrainerSettings
from trainer.reference import one_line

DOCS = Path(__file__).parents[1] / "docs"
BOUNDS: dict[type, tuple[str, str]] = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}
SETTINGS_HEAD = """\
# Settings

`SWITCHYARD_*` in the environment, or `switchyard.toml` in the working directory, with the names below in small letters
and without the prefix; the environment comes first. `SWITCHYARD_X_FILE` names a file whose text is the setting `X`, for
secrets that Docker or Kubernetes mount; a variable `SWITCHYARD_X` comes before it, `switchyard.toml` after it.
Durations are in seconds and sizes in bytes unless a line says otherwise. A mistake is one sentence at the start, with
no secret in it.
"""
METRICS_HEAD = """\
# Metrics

`/metrics` in Prometheus' text format, with the admin key or on the operator's own listener. Whichever worker of a
gateway answers, it says the same: workers tell the leader every two seconds what they have counted, and the leader adds
it up; the one that answers has told of all of its own before. When another leader takes over, counters begin at 0,
which Prometheus takes for a restart; of a worker that is killed the last two seconds are lost. The ledger is exact,
metrics are not.

Labels are bounded. Tenants and adapters are named when the setting `SWITCHYARD_METRICS_TENANTS` or
`SWITCHYARD_METRICS_ADAPTERS` has them, and beside those the `SWITCHYARD_METRICS_TOP_TENANTS` and
`SWITCHYARD_METRICS_TOP_ADAPTERS` (20 each) with the most requests; all others are `_other`, and
`switchyard_metrics_dropped_total` counts their requests. A name changes hands once a minute at most, to what had twice
as many requests. [deploy/prometheus](../deploy/prometheus) has a configuration, recording and alert rules
([runbook](../deploy/runbook.md)), [deploy/grafana](../deploy/grafana) dashboards; `--profile observe` of
[deploy/compose.yaml](../deploy/compose.yaml) starts both.
"""
METRICS_OF: dict[Of, str] = {
    "gateway": "## Of a gateway\n\nOf all its workers. Missing while nobody leads the fleet.\n",
    "fleet": "## Of the fleet\n\nAs the leader knows it, so that every gateway of the fleet says the same. Missing "
    "while nobody leads.\n",
    "process": "## Of what answers\n\nWhat every worker knows for itself, also without a leader.\n",
}
COMMANDS_HEAD = """\
# Commands

What `--help` says of each, on one page. `--json` is for scripts. Every expected error is one sentence on standard error
and exit status 1; a mistake in the command itself is 2.
"""
PICTURE_COLUMNS = 110
BOARD_FOLDER = "../deploy/grafana/dashboards"
A_PAIR = PairView(
    "3 of 40, ann",
    "user: My parcel 4711 is said to be delivered, and it is not here. What now?",
    "I am sorry to hear that. Please wait.",
    "I am sorry. 1. See whether a neighbour has it. 2. If not, tell me: I open a search, and you hear from us within "
    "two days.",
    None,
    HINT,
)
"""What docs/compare.md shows."""
AN_ENGINE = (
    "`SWITCHYARD_ENGINES` may be a JSON list of objects with these keys; what one does not say is as the settings of"
    " all engines say."
)


def pages() -> dict[str, str]:
    """File name in `docs/` → its text."""
    return {
        "settings.md": settings_page(),
        "cli.md": commands_page(),
        "metrics.md": metrics_page(),
        "compare.svg": picture_of(A_PAIR, PICTURE_COLUMNS),
        **{f"{BOARD_FOLDER}/{board.uid}.json": dashboard(board) for board in BOARDS},
    }


# Settings


def settings_page() -> str:
    """Every setting with its default, bounds and meaning."""
    shared, telling = RegistrySettings.model_fields, TelemetrySettings.model_fields
    gateway, trainer = (
        {name: one for name, one in settings.model_fields.items() if name not in {*shared, *telling}}
        for settings in (GatewaySettings, TrainerSettings)
    )
    parts = [
        SETTINGS_HEAD,
        "## State\n\nRead by every command.\n",
        _settings(shared, "SWITCHYARD_"),
        "## Log and traces\n\nRead by `gateway`, `worker`, `controller`, `up` and `trainer`. See [logs](logs.md) and "
        "[traces](traces.md).\n",
        _settings(telling, "SWITCHYARD_"),
        "## Gateway\n\nRead by `gateway`, `worker`, `controller` and `up`.\n",
        _settings(gateway, "SWITCHYARD_"),
        "## Trainer\n\nRead by `trainer`.\n",
        _settings(trainer, "SWITCHYARD_"),
        "## Dashboard\n\nRead by `dashboard` and `up`.\n",
        _settings(DashboardSettings.model_fields, "SWITCHYARD_"),
        f"## An engine\n\n{AN_ENGINE}\n",
        _settings(EngineSettings.model_fields, ""),
    ]
    return "\n".join(parts)


def _settings(fields: dict[str, FieldInfo], prefix: str) -> str:
    rows = [
        (
            f"`{prefix + name.upper() if prefix else name}`",
            "required" if one.is_required() else _default(one.default),
            _allowed(one),
            one_line(one.description or ""),
        )
        for name, one in fields.items()
    ]
    return _table(("name", "default", "allowed", "meaning"), rows)


def _default(value: Any) -> str:
    if value in (None, "", []):
        return "–"
    if isinstance(value, list):
        value = ",".join(str(one) for one in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _allowed(one: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(bound, attribute):g}"
        for kind, (attribute, sign) in BOUNDS.items()
        for bound in one.metadata
        if isinstance(bound, kind)
    ]
    return ", ".join(bounds or _choices(one.annotation)) or "–"


def _choices(annotation: Any) -> list[str]:
    """The values of a `Literal` anywhere in an annotation."""
    found: list[str] = []
    for argument in get_args(annotation):
        found += [f"`{argument}`"] if isinstance(argument, str) else _choices(argument)
    return found


# Metrics


def metrics_page() -> str:
    """Every metric by what it is of, with its type, labels and unit."""
    parts = [METRICS_HEAD]
    for of, head in METRICS_OF.items():
        rows = [
            (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels) or "–", one.unit, one.text)
            for one in FAMILIES
            if one.of == of
        ]
        parts += [head, _table(("name", "type", "labels", "unit", "meaning"), rows)]
    return "\n".join(parts)


# Commands


def commands_page() -> str:
    """Every command with its arguments and options."""
    parts = [COMMANDS_HEAD]
    for name, (_, summary) in COMMANDS.items():
        parts.append(f"## `switchyard {name}`\n\n{summary}\n")
        parts += list(_command(f"switchyard {name}", command_called(name)))
    return "\n".join(parts)


def _command(path: str, command: Any) -> Iterator[str]:
    commands = getattr(command, "commands", {})
    if commands:
        for name, inner in commands.items():
            yield f"### `{path} {name}`\n"
            yield from _command(f"{path} {name}", inner)
        return
    context = command.context_class(command, info_name=path)
    yield f"```text\n{' '.join([path, *command.collect_usage_pieces(context)])}\n```\n"
    yield f"{one_line(command.help or '')}\n"
    rows = [(_name(one), one_line(getattr(one, "help", None) or "")) for one in command.params]
    if rows:
        yield _table(("", ""), rows)


def _name(one: Any) -> str:
    """As it is typed, with the default if that says something."""
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    says_something = one.default not in (None, False, (), "") and not callable(one.default)
    return f"{names} ({one.default})" if says_something and not getattr(one, "is_flag", False) else names


# Both


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


def main() -> None:
    """Write every page."""
    for name, text in pages().items():
        (DOCS / name).write_text(text)


if __name__ == "__main__":
    main()
