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
    from gateway.experiments.decisions import Move
    from gateway.experiments.standing import Standing
    from registry.experiments.export import Exported
    from registry.experiments.infos import DecisionInfo, ExperimentInfo
    from registry.service import Registry

LEAST_ROWS, OTHER_ROWS = 10, 16
"""Of a screen: those of its plots at least, and those that all else takes."""


def _seen(
    registry: Registry, experiment: str
) -> tuple[ExperimentInfo, Standing | None, Move | None, list[DecisionInfo]]:
    """One, where it stands, what would follow now, and the end of its log."""
    from gateway.experiments.deciding import LOOKED_BACK, course_of
    from gateway.experiments.decisions import decide
    from gateway.experiments.standing import Standing
    from registry.db import now_ms

    info = registry.experiments.find(experiment)
    log = registry.experiments.decisions(info.id, max(0, info.decisions - LOOKED_BACK))
    if info.standing is None:
        return info, None, None, log
    standing = Standing.of(info.standing["standing"])
    runs = info.state == "running"
    return info, standing, decide(info.plan, standing, course_of(registry, info, log), now_ms()) if runs else None, log


def status(
    experiment: str = Which,
    plot: Path | None = typer.Option(None, "--plot", help="Draw the sequence into this file too, .png or .svg."),
    json_output: bool = JsonFlag,
) -> None:
    """Say where an experiment stands: arms, what is known of them, and what comes next."""
    from switchyard import experiment_view as view

    with open_registry() as registry:
        info, standing, move, log = _seen(registry, experiment)
    if plot is not None:
        _draw(info, plot)
    if json_output:
        standing_document = None if standing is None else standing.document
        print_json({**info.document, "standing": standing_document, "next": move})
        return
    say(view.headline(info), view.ramp_of(info))
    print_table(view.TABLE, view.arms_of(info))
    say(*view.findings(info, standing), view.last_decision(log), view.following(info, move))


def _draw(info: ExperimentInfo, file: Path) -> None:
    from switchyard.experiment_picture import Said, form_of, picture
    from switchyard.experiment_view import points_of

    form, metric = form_of(file), info.plan.metric
    sequences = {arm: points for arm in info.plan.treatments if (points := points_of(info, arm))}
    if not sequences:
        raise InvalidInput("plot has nothing to show yet: too few units are judged; look again later", param="plot")
    worst = metric.margin if metric.direction == "lower" else -metric.margin
    sure = f"{100 * (1 - info.plan.alpha / len(info.plan.treatments)):.6g} %, any time"
    title = f"{info.adapter}@{info.alias}: {' and '.join(info.plan.treatments)} less {info.plan.arms[0]}"
    try:
        file.write_bytes(picture(sequences, title, Said(metric.name, metric.direction, worst, sure), form))
    except OSError as error:
        raise InvalidInput(f"plot is {str(file)!r}, which cannot be written: {error.strerror}", param="plot") from None


def watch(
    experiment: str = Which,
    every_s: float = typer.Option(1.0, "--every", min=0.2, help="Seconds between two looks."),
) -> None:
    """Follow an experiment until it ends: arms, ramp, the sequence as a plot, and what comes next. Ctrl-C leaves it."""
    with open_registry() as registry, screen() as shown:
        while True:
            info, standing, move, log = _seen(registry, experiment)
            shown.show(_lines(info, standing, move, log, shown.size))
            if info.ended_at_ms is not None:
                return
            time.sleep(every_s)


def _lines(
    info: ExperimentInfo, standing: Standing | None, move: Move | None, log: list[DecisionInfo], size: tuple[int, int]
) -> Iterator[str]:
    from switchyard import experiment_view as view

    yield from (view.headline(info), view.ramp_of(info), "")
    yield from view.aligned([view.TABLE, *view.arms_of(info)])
    yield ""
    yield from view.findings(info, standing)
    yield from view.plots(info, size[0], max(LEAST_ROWS, size[1] - OTHER_ROWS - 2 * len(info.plan.treatments)))
    yield from ("", view.last_decision(log), view.following(info, move))


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
