"""Training: jobs of all tenants with their curves, what was quoted and what it took, and the files they train on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.components import charts, figures
from dashboard.components.charts import STEPS, Series
from dashboard.components.figures import Form
from dashboard.components.tables import TableAddress, page_from_api
from dashboard.faults import Missing
from dashboard.web import Page, actor_of, admin_of, done, shown

ROWS = 50
EVENTS = 60
CHECKPOINTS = 8
STATUSES = {
    "validating_files": "info",
    "queued": "quiet",
    "running": "info",
    "paused": "warn",
    "succeeded": "good",
    "failed": "bad",
    "cancelled": "quiet",
}
"""How the badge of a job's status looks."""
HYPERPARAMETERS = {"n_epochs": "Epochs"}
"""What they are called where their names without lines are none that people use."""
ENDED = ("succeeded", "failed", "cancelled")
DONE = {"cancel": "cancelled", "pause": "paused", "resume": "resumed"}
LEVELS = {"warn": "warn", "error": "bad"}


@dataclass(frozen=True, slots=True)
class Curve:
    """One chart of a job, under its name."""

    title: str
    note: str
    drawing: Markup


CURVES: Sequence[tuple[str, str, Mapping[str, str], Form]] = (
    (
        "Loss",
        "nats per answer token; of held-out rows it must fall too",
        {"train_loss": "training", "valid_loss": "held-out sample", "full_valid_loss": "all held-out rows"},
        figures.plain,
    ),
    (
        "Answer tokens that were right",
        "share of answer tokens that were the likeliest",
        {"train_mean_token_accuracy": "training", "valid_mean_token_accuracy": "held-out sample"},
        figures.percent,
    ),
    ("Learning rate", "per step", {"learning_rate": "learning rate"}, figures.plain),
    ("Gradient norm", "before it is cut", {"grad_norm": "gradient norm"}, figures.plain),
    ("Speed", "tokens a second, prompts too", {"tokens_per_second": "tokens"}, figures.per_s),
)
"""Title, note, by measure the line's name, and how its figures are written."""


async def jobs_view(request: Request) -> Mapping[str, Any]:
    """Jobs, newest first, of one tenant if the address says so."""
    address, admin = TableAddress.of(request), admin_of(request)
    tenant = request.query_params.get("tenant", "").strip() or None
    page = await admin.get("/jobs", tenant=tenant, after=address.after, limit=ROWS)
    return {
        "tabs_at": "/training",
        "tenant": tenant,
        "address": address,
        "statuses": STATUSES,
        "rows": page_from_api(address, [_row(job) for job in page["jobs"]], page["next"]),
    }


async def files_view(request: Request) -> Mapping[str, Any]:
    """What tenants keep, and of one of them each file."""
    address, admin = TableAddress.of(request), admin_of(request)
    tenant = request.query_params.get("tenant", "").strip() or None
    kept, page = await asyncio.gather(admin.get("/files"), _files_of(admin, tenant, address))
    return {
        "tabs_at": "/training/files",
        "tenant": tenant,
        "kept": kept["tenants"],
        "address": address,
        "rows": None if page is None else page_from_api(address, page["files"], page["next"]),
    }


async def _files_of(admin: Any, tenant: str | None, address: TableAddress) -> Any:
    if tenant is None:
        return None
    return await admin.get(f"/tenants/{quote(tenant, safe='')}/files", after=address.after, limit=ROWS)


async def job_view(request: Request) -> Mapping[str, Any]:
    """One job."""
    admin, path = admin_of(request), f"/jobs/{quote(request.path_params['job'], safe='')}"
    job, curve, events, checkpoints = await asyncio.gather(
        admin.get(path),
        admin.get(f"{path}/curve", life_s=3),
        admin.get(f"{path}/events", limit=EVENTS, type="message"),
        admin.get(f"{path}/checkpoints", limit=CHECKPOINTS),
    )
    certificates = await _certificates(admin, job)
    facts = job["facts"]
    quoted = facts.get("quote") or {}
    return {
        "job": job,
        "row": _row(job),
        "statuses": STATUSES,
        "levels": LEVELS,
        "has_ended": job["status"] in ENDED,
        "step": curve["steps"][-1] if curve["steps"] else None,
        "steps": curve["total_steps"] or quoted.get("steps"),
        "hyperparameters": [
            (HYPERPARAMETERS.get(name) or name.replace("_", " "), value)
            for name, value in job["hyperparameters"].items()
        ],
        "curves": _curves(curve),
        "is_thinned": curve["is_thinned"],
        "quote": quoted,
        "truth": _truth(facts.get("quote_against_actual") or {}),
        "evaluation": facts.get("evaluation") or {},
        "recipe": facts.get("recipe"),
        "events": events["events"],
        "checkpoints": checkpoints["checkpoints"],
        "certificates": certificates,
    }


async def _certificates(admin: Any, job: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Of the version that the job made, if it made one."""
    version = job.get("version")
    if version is None:
        return ()
    adapter, _, number = version.partition("@")
    tenant, _, name = adapter.partition("/")
    path = f"/adapters/{quote(tenant, safe='')}/{quote(name, safe='')}/certificates"
    found: Mapping[str, Any] = await admin.get_or(path, {"certificates": []}, version=number)
    certificates: Sequence[Mapping[str, Any]] = found["certificates"]
    return certificates


def _curves(curve: Mapping[str, Any]) -> list[Curve]:
    found = []
    for title, note, names, form in CURVES:
        lines = [Series(said, curve["values"][name]) for name, said in names.items() if name in curve["values"]]
        if lines:
            label = f"{title} by step of the training"
            drawing = charts.line(
                label, curve["steps"], _without_gaps(lines), form, across=STEPS, from_zero=title != "Loss"
            )
            found.append(Curve(title, note, drawing))
    return found


def _without_gaps(lines: Sequence[Series]) -> list[Series]:
    """Held-out rows are measured now and then: between two measurements the line goes straight on."""
    return [Series(one.name, _filled(one.values)) for one in lines]


def _filled(values: Sequence[float | None]) -> list[float | None]:
    filled = list(values)
    known = [place for place, value in enumerate(values) if value is not None]
    for begin, end in pairwise(known):
        first, last = values[begin], values[end]
        assert first is not None
        assert last is not None
        for place in range(begin + 1, end):
            filled[place] = first + (last - first) * (place - begin) / (end - begin)
    return filled


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of the quote, and what it was in the end."""

    name: str
    quoted: str
    actual: str
    ratio: str


def _truth(compared: Mapping[str, Any]) -> list[Compared]:
    forms: Mapping[str, tuple[str, Form]] = {
        "steps": ("Steps", figures.count),
        "trained_tokens": ("Tokens trained on", figures.tokens),
        "seconds": ("Time of training", figures.seconds),
    }
    return [
        Compared(
            name,
            form(compared[key]["quoted"]),
            form(compared[key]["actual"]),
            figures.UNKNOWN if compared[key]["ratio"] is None else f"{compared[key]['ratio']:.2f} ×",
        )
        for key, (name, form) in forms.items()
        if key in compared
    ]


@dataclass(frozen=True, slots=True)
class Row:
    """One job, in a line."""

    id: str
    tenant: str
    adapter: str
    status: str
    method: str
    base: str
    created_at_ms: int
    took_ms: int | None
    finish_ms: int | None
    result: str | None
    fault: str


def _row(job: Mapping[str, Any]) -> Row:
    began, ended = job["started_at_ms"], job["finished_at_ms"]
    error = job["error"]
    return Row(
        id=job["id"],
        tenant=job["tenant"],
        adapter=job["adapter"],
        status=job["status"],
        method=job["method"],
        base=job["base"],
        created_at_ms=job["created_at_ms"],
        took_ms=ended - began if began and ended else None,
        finish_ms=job["estimated_finish_ms"] if job["status"] == "running" else None,
        result=job["fine_tuned_model"],
        fault=error["message"] if error else "",
    )


async def steer(request: Request) -> Response:
    """Cancel, pause or resume a job. Raises `Missing`."""
    job, wish = request.path_params["job"], request.path_params["wish"]
    if wish not in DONE:
        raise Missing(f"A job cannot be told to {wish[:40]!r}.", "It can be paused, resumed and cancelled.")
    await admin_of(request).post(f"/jobs/{quote(job, safe='')}/{wish}", {"actor": actor_of(request)})
    return done(request, f"/training/jobs/{quote(job, safe='')}", f"Job {job} is {DONE[wish]}.")


PAGE = Page(
    "/training",
    "Training",
    "training",
    [
        *shown("/training", "training.html", jobs_view),
        *shown("/training/files", "training_files.html", files_view),
        *shown("/training/jobs/{job}", "training_job.html", job_view),
        Route("/training/jobs/{job}/{wish}", steer, methods=["POST"]),
    ],
    place=50,
)
