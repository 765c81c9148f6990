"""Ballots: whose answers people prefer; and the page on which they vote, that knows neither names nor sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboard.components import figures
from dashboard.components.charts import Bar, bars
from dashboard.components.tables import TableAddress, page_from_api
from dashboard.web import actor_of, admin_of, done, form_of, render, shown

PAGE_ROWS = 25


def _path(request: Request) -> str:
    return f"/ballots/{_name(request)}"


def _here(request: Request) -> str:
    return f"/experiments/votes/{_name(request)}"


def _name(request: Request) -> str:
    return "/".join(quote(request.path_params[part], safe="") for part in ("tenant", "comparison"))


async def ballots(request: Request) -> Mapping[str, Any]:
    """All that are put up."""
    address = TableAddress.of(request)
    document = await admin_of(request).get("/ballots", after=address.after, limit=PAGE_ROWS)
    return {"rows": page_from_api(address, document["ballots"], document["next"])}


async def result(request: Request) -> Mapping[str, Any]:
    """What was said so far; not a page for who still votes."""
    found = await admin_of(request).get(_path(request))
    preference = found["preference"]
    decided = preference["a_wins"] + preference["b_wins"]
    counts = [
        Bar("A wins", preference["a_wins"]),
        Bar("B wins", preference["b_wins"]),
        Bar("ties", preference["ties"]),
    ]
    return {
        "ballot": found,
        "preference": preference,
        "decided": decided,
        "chart": bars("Conversations by who wins them", counts, figures.count),
        "action": _here(request),
    }


async def vote_page(request: Request) -> Response:
    """The next pair of one voter, or who votes is asked for his name."""
    voter = request.query_params.get("voter", "").strip()
    if not voter:
        return render(request, "experiments/voter.html", action=_here(request), voter=actor_of(request))
    after = request.query_params.get("after", "0")
    found = await admin_of(request).get(
        f"{_path(request)}/next", voter=voter, after=after if after.isdecimal() else "0", life_s=0
    )
    return render(
        request,
        "experiments/vote.html",
        voter=voter,
        found=found,
        pair=found["shown"],
        action=f"{_here(request)}/vote",
        results=_here(request),
        back=request.query_params.get("back", ""),
        skip=_with(f"{_here(request)}/vote", voter=voter, after=found["place"]),
    )


async def cast(request: Request) -> Response:
    """A vote, or the last one taken back; then the next pair."""
    form = await form_of(request)
    voter, pair, said = form.get("voter", ""), form.get("pair", ""), form.get("said", "")
    admin, page = admin_of(request), f"{_here(request)}/vote"
    if said == "undo":
        await admin.delete(f"{_path(request)}/votes/{pair}", params={"voter": voter})
        return RedirectResponse(_with(page, voter=voter), status_code=303)
    await admin.post(f"{_path(request)}/votes", {"pair": pair, "voter": voter, "preferred": said})
    return RedirectResponse(_with(page, voter=voter, after=form.get("after"), back=pair), status_code=303)


async def take_down(request: Request) -> Response:
    """The texts go; votes stay."""
    await admin_of(request).delete(_path(request))
    return done(request, "/experiments/votes", "The ballot is taken down: its texts are gone, its votes stay.")


def _with(path: str, **query: Any) -> str:
    kept = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(kept)}"


_ONE = "/experiments/votes/{tenant}/{comparison}"
ROUTES = [
    *shown("/experiments/votes", "experiments/ballots.html", ballots),
    Route(f"{_ONE}/vote", vote_page),
    Route(f"{_ONE}/vote", cast, methods=["POST"]),
    Route(f"{_ONE}/take-down", take_down, methods=["POST"]),
    *shown(_ONE, "experiments/ballot.html", result),
]
