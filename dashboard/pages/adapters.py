"""Adapters: a list with search, one adapter with its versions, aliases and history, one version, one swap."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.components import charts, figures
from dashboard.components.charts import Series
from dashboard.components.marks import Moment
from dashboard.components.tables import TableAddress, page_from_api
from dashboard.pages.playground import ROUTES as PLAYGROUND
from dashboard.web import Page, actor_of, admin_of, done, form_of, shown

PATH = "/adapters"
ONE = "/adapters/{tenant}/{adapter}"
PAGE_ROWS = 50
MOST_POINTS = 240
"""Of the chart of a swap; a longer one has wider steps."""
PRODUCTION = "production"
FINAL = ("done", "failed")


@dataclass(frozen=True, slots=True)
class Listed:
    """An adapter, as a row of the list."""

    name: str
    href: str
    shown: str
    """The number of the version that production points at, else of the newest one."""
    is_served: bool
    versions: int
    state: str
    reason: str
    shares: str
    """How production's traffic is split, if that version has part of it."""
    gate: str | None
    base: str
    engines: int
    published_ms: float


def listed(document: Mapping[str, Any]) -> Listed:
    """A row, of a version of `/adapters`."""
    name, _, number = document["version"].partition("@")
    return Listed(
        name=name,
        href=f"{PATH}/{quote(name)}",
        shown=number,
        is_served=PRODUCTION in document["aliases"],
        versions=document["versions"],
        state=document["state"],
        reason=document["reason"] or "",
        shares=", ".join(f"{percent:g} % of {alias}" for alias, percent in document["shares"].items()),
        gate=document["gate"],
        base=document["base"] or "unknown base",
        engines=len(document["resident_on"]),
        published_ms=document["created_at_s"] * 1000,
    )


async def view_list(request: Request) -> Mapping[str, Any]:
    """A page of all adapters, or of those that a search finds."""
    address = TableAddress.of(request)
    query = {"search": address.search or None, "after": address.after, "limit": PAGE_ROWS}
    document = await admin_of(request).get("/adapters", each="adapter", life_s=4, **query)
    rows = [listed(one) for one in document["adapters"]]
    return {"address": address, "rows": page_from_api(address, rows, document["next"])}


# One adapter


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version, as a row of its adapter."""

    number: str
    href: str
    aliases: Sequence[str]
    shares: str
    state: str
    reason: str
    gate: str | None
    engines: int
    effect: str
    made_of: str
    published_ms: float


def version_row(document: Mapping[str, Any], adapter: str) -> VersionRow:
    """A row, of a version of `/adapters/{tenant}/{adapter}`."""
    proof, lineage = document["proof"], document["lineage"]
    return VersionRow(
        number=document["number"],
        href=f"{PATH}/{quote(adapter)}/versions/{document['number']}",
        aliases=document["aliases"],
        shares=", ".join(f"{percent:g} % of {alias}" for alias, percent in document["shares"].items()),
        state=document["state"],
        reason=document["reason"] or "",
        gate=document["gate"],
        engines=len(document["resident_on"]),
        effect="not measured" if proof is None else _effect(proof),
        made_of=str(lineage.get("source") or ("training" if "recipe" in lineage else "–")),
        published_ms=document["created_at_s"] * 1000,
    )


def _effect(proof: Mapping[str, Any]) -> str:
    lost = ", lost in the noise" if proof["indistinguishable"] else ""
    return f"{figures.plain(proof['largest_effect'])} nats{lost}"


def name_of(request: Request) -> str:
    """`tenant/adapter` of the address."""
    return f"{request.path_params['tenant']}/{request.path_params['adapter']}"


async def view_one(request: Request) -> Mapping[str, Any]:
    """Versions, aliases, their moves, the swaps, and why it may take no traffic."""
    name, admin = name_of(request), admin_of(request)
    one, aliases, history, swaps = await asyncio.gather(
        admin.get(f"{PATH}/{quote(name)}"),
        admin.get(f"{PATH}/{quote(name)}/aliases"),
        admin.get(f"{PATH}/{quote(name)}/history", limit=500),
        admin.get("/swaps", adapter=name, limit=20),
    )
    return {
        "name": name,
        "home": f"{PATH}/{quote(name)}",
        "versions": [version_row(version, name) for version in one["versions"]],
        "total": one["total"],
        "quiet": one["quiet"],
        "aliases": aliases["aliases"],
        "moves": list(reversed(history["moves"]))[:50],
        "swaps": swaps["swaps"],
        "underway": [swap for swap in swaps["swaps"] if swap["state"] not in FINAL],
    }


async def promote(request: Request) -> Response:
    """Move an alias to a version, as it was when the page was made."""
    name, form = name_of(request), await form_of(request)
    order = {
        "version": f"{name}@{form.get('number', '')}",
        "alias": form.get("alias") or PRODUCTION,
        "reason": form.get("reason", ""),
        "actor": actor_of(request),
    }
    swap = await admin_of(request).post("/swaps", order, headers=_condition(form))
    return done(request, _swap_href(name, swap), f"{order['alias']} goes to {order['version']}; this page follows it.")


async def roll_back(request: Request) -> Response:
    """Take an alias back by a version, or end its split."""
    name, form = name_of(request), await form_of(request)
    order = {
        "adapter": name,
        "alias": form.get("alias") or PRODUCTION,
        "reason": form.get("reason", ""),
        "actor": actor_of(request),
    }
    swap = await admin_of(request).post("/swaps/rollback", order, headers=_condition(form))
    return done(request, _swap_href(name, swap), f"{order['alias']} goes back to {swap['to_version']}.")


def _condition(form: Mapping[str, str]) -> dict[str, str]:
    """That the alias is still where the person has seen it."""
    return {"If-Match": form["etag"]} if form.get("etag") else {}


def _swap_href(name: str, swap: Mapping[str, Any]) -> str:
    return f"{PATH}/{quote(name)}/swaps/{swap['id']}"


# One version


async def view_version(request: Request) -> Mapping[str, Any]:
    """What a version was made of, and what it has shown."""
    name, number, admin = name_of(request), request.path_params["number"], admin_of(request)
    one, certificates = await asyncio.gather(
        admin.get(f"{PATH}/{quote(name)}"),
        admin.get_or(f"{PATH}/{quote(name)}/certificates", {"certificates": []}, version=number),
    )
    version = next((found for found in one["versions"] if found["number"] == number), None)
    lineage = version["lineage"] if version else {}
    return {
        "name": name,
        "home": f"{PATH}/{quote(name)}",
        "number": number,
        "version": version,
        "row": version_row(version, name) if version else None,
        "facts": _lines(version["facts"]) if version else [],
        "lineage": _lines({key: value for key, value in lineage.items() if key != "recipe"}),
        "recipe": lineage.get("recipe"),
        "certificates": certificates["certificates"],
    }


TERMS = {"use_rslora": "rsLoRA", "dtype": "number format", "parameter_count": "parameters"}
"""What fields of files are called, where their names are none that people use."""


def _lines(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values of a document, each with its path."""
    found: list[tuple[str, str]] = []
    for name, value in document.items():
        path = f"{prefix}{TERMS.get(name) or (name.replace('_', ' ') if name.isidentifier() else name)}"
        if isinstance(value, Mapping):
            found += _lines(value, f"{path} › ")
        elif isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value):
            found.append((path, f"{len(value)} entries"))
        elif isinstance(value, list):
            found.append((path, ", ".join(map(str, value)) or "none"))
        else:
            found.append((path.removesuffix(" bytes"), _said(name, value)))
    return found


def _said(name: str, value: Any) -> str:
    """A value of a document, with its unit where its name has one."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and math.isfinite(value):
        form = figures.size if name.endswith("_bytes") else figures.count if isinstance(value, int) else figures.plain
        return form(value)
    return str(value)


# One swap


async def view_swap(request: Request) -> Mapping[str, Any]:
    """A promote, rollback or ramp: how far it is, and what it did to traffic."""
    name = name_of(request)
    report = await admin_of(request).get(f"/swaps/{request.path_params['swap']}")
    return {
        "name": name,
        "home": f"{PATH}/{quote(name)}",
        "report": report,
        "swap": report["swap"],
        "ended": report["swap"]["state"] in FINAL,
        "chart": swap_chart(report),
    }


def swap_chart(report: Mapping[str, Any]) -> Markup:
    """Requests a second by version, with the moments of the cut-over.

    In columns: a line would rise to a second's requests before the second has begun.
    """
    rows = report["per_second"]
    if not rows:
        return charts.nothing("No request came around this swap.")
    since, until = report["since_ms"] // 1000, report["until_ms"] // 1000
    step = max(1, math.ceil((until - since + 1) / MOST_POINTS))
    places = list(range(since, until + 1, step))
    counted = {model: [0.0] * len(places) for model in dict.fromkeys(row["served_model"] for row in rows)}
    for row in rows:
        place = (row["second_ms"] // 1000 - since) // step
        if 0 <= place < len(places):
            counted[row["served_model"]][place] += row["attempts"] / step
    detail = report["swap"]["detail"]
    named = (("alias moved", "flipped_at_ms"), ("every worker has it", "acknowledged_at_ms"))
    moments = [Moment(said, detail[key]) for said, key in named if detail.get(key)]
    return charts.columns(
        "Requests a second by version",
        [place * 1000.0 for place in places],
        [Series(model.partition("@")[2] or model, values) for model, values in sorted(counted.items())],
        figures.per_s,
        moments=moments,
    )


PAGE = Page(
    PATH,
    "Adapters",
    "adapters",
    [
        *shown(PATH, "adapters.html", view_list),
        *shown(ONE, "adapter.html", view_one),
        *shown(f"{ONE}/versions/{{number}}", "adapter_version.html", view_version),
        *shown(f"{ONE}/swaps/{{swap:int}}", "adapter_swap.html", view_swap),
        Route(f"{ONE}/promote", promote, methods=["POST"]),
        Route(f"{ONE}/rollback", roll_back, methods=["POST"]),
        *PLAYGROUND,
    ],
    place=30,
)
