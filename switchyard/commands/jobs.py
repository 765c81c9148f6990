"""`switchyard jobs`: fine-tuning jobs of all tenants, over the admin API."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from math import exp
from typing import TYPE_CHECKING, Any

import typer

from registry.days import when
from switchyard.console import actor, print_done, print_json, print_json_line, print_table, say
from switchyard.options import JsonFlag, UrlOption

if TYPE_CHECKING:
    from gateway.admin_client import AdminClient

JobId = typer.Argument(help="The id that `jobs list` shows.")
FINAL = ("succeeded", "failed", "cancelled")
LOOK_S = 1.0
"""Between two looks for what is new."""
PAGE = 100
LEAST_POINTS = 10
LOSSES = {
    "train_loss": "training loss",
    "valid_loss": "loss of a sample of held-out rows",
    "full_valid_loss": "held-out loss",
}
MOST_LOSS = 700.0
"""Beyond it a perplexity is no number."""

jobs = typer.Typer(add_completion=False, no_args_is_help=True, help="List, follow and steer fine-tuning jobs.")


@jobs.command("list")
def list_jobs(
    tenant: str | None = typer.Argument(None, help="Only this tenant's."),
    limit: int = typer.Option(20, "--limit", min=1, max=500, help="How many, newest first."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """List jobs, newest first."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        found = admin.get("/jobs", tenant=tenant, limit=limit)["jobs"]
    if json_output:
        print_json(found)
        return
    print_table(
        ("ID", "TENANT", "STATUS", "MODEL", "ADAPTER", "CREATED", "ENDED", "WORKER", "RESULT"),
        (
            (
                job["id"],
                job["tenant"],
                job["status"],
                job["model"],
                job["adapter"].partition("/")[2],
                when(job["created_at_ms"]),
                when(job["finished_at_ms"]),
                job["worker"],
                job["fine_tuned_model"] or (job["error"] or {}).get("code"),
            )
            for job in found
        ),
        empty="no job was ever ordered; tenants do it at /v1/fine_tuning/jobs",
    )


@jobs.command()
def show(job_id: str = JobId, url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """Show a job: what was ordered, how far it is, and why it failed if it did."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        job = admin.get(f"/jobs/{job_id}")
        reached = _reached(admin.get(f"/jobs/{job_id}/curve", points=LEAST_POINTS))
    if json_output:
        print_json({**job, "reached": reached})
        return
    say(f"{job['id']} of {job['tenant']}: {job['status']}")
    if job["error"] is not None:
        say(f"{job['error']['code']}: {job['error']['message']}")
    print_table(("FIELD", "VALUE"), list(_fields(job, reached)))


def _reached(curve: Mapping[str, Any]) -> dict[str, Any] | None:
    """The newest step, and each loss as it was measured last; None before the first one."""
    if not curve["steps"]:
        return None
    newest = {name: [value for value in curve["values"].get(name, ()) if value is not None] for name in LOSSES}
    losses = {name: values[-1] if values else None for name, values in newest.items()}
    return {"step": curve["steps"][-1], "total_steps": curve["total_steps"], **losses}


def _told(reached: Mapping[str, Any] | None) -> Sequence[tuple[str, object]]:
    """How far a training is, and how well."""
    if reached is None:
        return [("step", None)]
    losses = [(said, reached[name]) for name, said in LOSSES.items() if reached[name] is not None]
    of = "" if reached["total_steps"] is None else f" of {reached['total_steps']:,}"
    return [
        ("step", f"{reached['step']:,}{of}"),
        *((said, f"{loss:.3f} (perplexity {exp(min(loss, MOST_LOSS)):.4g})") for said, loss in losses),
    ]


def _fields(job: Mapping[str, Any], reached: Mapping[str, Any] | None) -> Sequence[tuple[str, object]]:
    """What there is to say, one line each."""
    settings = {**job["hyperparameters"], **job["options"]}
    return [
        ("model", job["model"] if job["continues"] is None else f"{job['model']} (goes on from {job['continues']})"),
        ("base", job["base"]),
        ("method", job["method"]),
        ("adapter", job["adapter"]),
        ("training file", job["training_file"]),
        ("validation file", job["validation_file"]),
        *settings.items(),
        ("created", when(job["created_at_ms"])),
        ("started", when(job["started_at_ms"])),
        ("ended", when(job["finished_at_ms"])),
        ("thought to end", when(job["estimated_finish_ms"])),
        *_told(reached),
        ("worker", job["worker"]),
        ("trained tokens", job["trained_tokens"]),
        ("fine-tuned model", job["fine_tuned_model"]),
    ]


@jobs.command()
def events(
    job_id: str = JobId,
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on until the job has ended."),
    limit: int = typer.Option(50, "--limit", min=1, max=500, help="How many of those there are, newest last."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Show what happened in a job; with `--follow`, also what happens. `--json` is one document a line."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        newest = admin.get(f"/jobs/{job_id}/events", limit=limit)["events"]
        _print_events(newest, json_output)
        last = newest[0]["id"] if newest else None
        while follow:
            ended = admin.get(f"/jobs/{job_id}")["status"] in FINAL
            fresh = _since(admin, job_id, last)  # asked for after the status: nothing is missed at the end
            _print_events(fresh, json_output)
            last = fresh[0]["id"] if fresh else last
            if ended:
                return
            time.sleep(LOOK_S)


def _since(admin: AdminClient, job_id: str, last: str | None) -> list[Any]:
    """Events that came after `last`, newest first."""
    found: list[Any] = []
    after = None
    while True:
        page = admin.get(f"/jobs/{job_id}/events", limit=PAGE, after=after)
        for event in page["events"]:
            if event["id"] == last:
                return found
            found.append(event)
        after = page["next"]
        if after is None:
            return found


def _print_events(newest_first: Sequence[Any], json_output: bool) -> None:
    for event in reversed(newest_first):
        if json_output:
            print_json_line(event)
            continue
        mark = "" if event["level"] == "info" else f"{event['level']}: "
        figures = ", ".join(f"{name} {_short(value)}" for name, value in event["data"].items() if _is_figure(value))
        shown = f" ({figures})" if figures and event["type"] == "metrics" else ""
        say(f"{when(event['created_at_ms'])}  {mark}{event['message']}{shown}")


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: float) -> str:
    return f"{value:g}" if isinstance(value, int) else f"{value:.4g}"


@jobs.command()
def cancel(job_id: str = JobId, url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """End a job now: its worker stops within seconds, and nothing of it is published."""
    _order(job_id, "cancel", url, json_output)


@jobs.command()
def pause(job_id: str = JobId, url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """Have a job wait: its worker saves a checkpoint and gives it back."""
    _order(job_id, "pause", url, json_output)


@jobs.command()
def resume(job_id: str = JobId, url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """Let a paused job go on, from its last checkpoint."""
    _order(job_id, "resume", url, json_output)


def _order(job_id: str, wish: str, url: str | None, json_output: bool) -> None:
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        job = admin.post(f"/jobs/{job_id}/{wish}", actor=actor())
    print_done(job, f"{job['id']} is {job['status']}", json_output)
