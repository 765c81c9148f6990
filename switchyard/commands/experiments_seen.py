"""`switchyard experiments status`, `watch`, `replay`: where one stands, as it goes on, and its decisions made again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from registry.errors import InvalidInput
from switchyard.commands.experiments_move import Which
from switchyard.console import print_json, print_table, say, screen
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from gateway.experiments.outlook import Outlook
    from registry.experiments.export import Exported
    from registry.service import Registry

LEAST_ROWS, OTHER_ROWS = 10, 16
"""Of a screen: those of its plots at least, and those that all else takes."""


def _seen(registry: Registry, experiment: str) -> Outlook:
    from gateway.experiments.outlook import outlook_of

    return outlook_of(registry, registry.experiments.find(experiment))


def status(
    experiment: str = Which,
    plot: Path | None = typer.Option(None, "--plot", help="Draw the sequence into this file too, .png or .svg."),
    json_output: bool = JsonFlag,
) -> None:
    """Say where an experiment stands: arms, what is known of them, and what comes next."""
    from switchyard import experiment_view as view

    with open_registry() as registry:
        seen = _seen(registry, experiment)
    if plot is not None:
        _draw(seen, plot)
    if json_output:
        standing_document = None if seen.standing is None else seen.standing.document
        print_json({**seen.info.document, "standing": standing_document, "late": seen.late, "next": seen.move})
        return
    say(view.headline(seen.info), view.ramp_of(seen.info))
    print_table(view.TABLE, view.arms_of(seen))
    say(*seen.findings, view.last_decision(seen.log), seen.following)


def _draw(seen: Outlook, file: Path) -> None:
    from switchyard.experiment_picture import Caption, picture
    from switchyard.experiment_view import points_of
    from switchyard.picture_files import form_of, write_picture

    form, info, told = form_of(file), seen.info, seen.sequence
    sequences = {arm: points for arm in info.plan.treatments if (points := points_of(seen, arm))}
    if not sequences:
        raise InvalidInput(
            "plot has nothing to show yet: the sequence begins with 200 judged units of two arms; look again later",
            param="plot",
        )
    sure = f"{100 * told.sure:.6g} %, any time"
    title = f"{info.adapter}@{info.alias}: {' and '.join(info.plan.treatments)} less {info.plan.arms[0]}"
    write_picture(file, picture(sequences, title, Caption(told.metric, told.direction, told.margin, sure), form))


def watch(
    experiment: str = Which,
    every_s: float = typer.Option(1.0, "--every", min=0.2, help="Seconds between two looks."),
) -> None:
    """Follow an experiment until it ends: arms, ramp, the sequence as a plot, and what comes next. Ctrl-C leaves it."""
    with open_registry() as registry, screen() as shown:
        while True:
            seen = _seen(registry, experiment)
            shown.show(_lines(seen, shown.size))
            if seen.info.ended_at_ms is not None:
                return
            time.sleep(every_s)


def _lines(seen: Outlook, size: tuple[int, int]) -> Iterator[str]:
    from switchyard import experiment_view as view

    yield from (view.headline(seen.info), view.ramp_of(seen.info), "")
    yield from view.aligned([view.TABLE, *view.arms_of(seen)])
    yield ""
    yield from seen.findings
    rows = size[1] - OTHER_ROWS - 2 * len(seen.info.plan.treatments)
    yield from view.plots(seen, size[0], max(LEAST_ROWS, rows))
    yield from ("", view.last_decision(seen.log), seen.following)


def replay(
    experiment: str | None = typer.Argument(None, metavar="EXPERIMENT", help="As elsewhere; not with --file."),
    file: Path | None = typer.Option(None, "--file", help="What `experiments decisions --export` has written."),
    json_output: bool = JsonFlag,
) -> None:
    """Make the controller's decisions again from the stored units; exit status 1 where one comes out otherwise."""
    from gateway.experiments.replay import Replay
    from registry.experiments.log import faults_in

    found = _exported(experiment, file)
    faults = list(faults_in(found.log))
    replayed = list(Replay(found.plan, found.shares, found.units).run(found.log))
    differing = [one for one in replayed if one.differences]
    if json_output:
        document: list[dict[str, Any]] = [
            {"seq": one.line.seq, "kind": one.line.kind, "differences": one.differences} for one in replayed
        ]
        print_json(
            {"experiment": found.name, "replayed": document, "faults": faults, "same": not (differing or faults)}
        )
    else:
        for fault in faults:
            say(fault)
        for one in differing:
            say(*(f"decision {one.line.seq} ({one.line.kind}): {text}" for text in one.differences))
        same = len(replayed) - len(differing)
        say(f"{found.name}: {same} of {len(replayed)} decisions of the controller come out the same, bit for bit")
    if differing or faults:
        raise typer.Exit(1)


def write_export(registry: Registry, experiment: str, file: Path) -> None:
    """Units and log of one, a line of JSON each. Raises `InvalidInput` for a file that cannot be written."""
    import json

    from registry.experiments.export import export

    try:
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(f"{json.dumps(line)}\n" for line in export(registry.db, experiment))
    except OSError as error:
        raise InvalidInput(
            f"export is {str(file)!r}, which cannot be written: {error.strerror}", param="export"
        ) from None


def _exported(experiment: str | None, file: Path | None) -> Exported:
    from registry.experiments.export import export, read_export

    if (experiment is None) == (file is None):
        raise InvalidInput("name an experiment, or a file with --file", param="experiment")
    if file is None:
        import json

        with open_registry() as registry:
            return read_export(json.dumps(line) for line in export(registry.db, str(experiment)))
    try:
        with file.open(encoding="utf-8") as lines:
            return read_export(lines)
    except OSError as error:
        raise InvalidInput(f"file is {str(file)!r}, which cannot be read: {error.strerror}", param="file") from None
