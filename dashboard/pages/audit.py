"""The audit log: who ordered what, when, what it changed, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from dashboard.components.tables import TableAddress, page_from_api
from dashboard.web import Page, admin_of, shown

ROWS = 40
OUTCOMES = {"done": "good", "refused": "warn", "failed": "bad"}
VERBS = {"PUT": "set", "PATCH": "change", "DELETE": "delete"}
SAID = {
    "swaps": "promote",
    "swaps ramp": "ramp",
    "swaps ramp end": "end the ramp of",
    "swaps rollback": "roll back",
    "quarantine": "quarantine",
    "quarantine release": "release",
    "cost engines": "set the cost of engines",
    "cost baselines": "add a list price of",
    "ballots votes": "vote on",
}
"""Words of an address → what is ordered by a POST there, where they do not say it as people do."""
ALL = "*"
FILTERS = ("tenant", "actor", "object")


@dataclass(frozen=True, slots=True)
class Change:
    """A column of a row, or a row as a whole."""

    where: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One order, as people read it."""

    id: int
    at_ms: float
    actor: str
    what: str
    object: str
    outcome: str
    kind: str
    error: str
    origin: str
    body: str
    changes: Sequence[Change]
    untold: int


def entry_of(document: Mapping[str, Any]) -> Entry:
    """An order of the `/audit` document."""
    body = document["body"]
    return Entry(
        id=document["id"],
        at_ms=document["at_ms"],
        actor=document["actor"],
        what=_what(document["method"], document["route"], document["path"]),
        object="all" if document["object"] == ALL else document["object"],
        outcome=document["outcome"],
        kind=OUTCOMES.get(document["outcome"], "quiet"),
        error=document["error"] or "",
        origin=f"from {document['address']}" if document["address"] else "by a command on a host of the gateway",
        body=json.dumps(body, indent=1, ensure_ascii=False) if body else "",
        changes=[change for row in document["changes"] for change in _changes(row)],
        untold=document["rows_untold"],
    )


def _what(method: str | None, route: str, path: str | None) -> str:
    """`drain engine`, `add tenant`, `delete key`; of a command its name."""
    if method is None or path is None:
        return route.removeprefix("switchyard ")
    places = zip(route.split("/"), path.split("/"), strict=False)
    words = [at for part, at in places if part == "{action}" or not part.startswith("{")][len(("", "admin", "v1")) :]
    if method == "POST" and " ".join(words) in SAID:
        return SAID[" ".join(words)]
    *inside, last = words
    if method != "POST":
        return f"{VERBS.get(method, method)} {_one(last)}"
    return f"add {_one(last)}" if last.endswith("s") else " ".join([last, *map(_one, inside[:1])])


def _one(things: str) -> str:
    return things.removesuffix("s")


def _changes(row: Mapping[str, Any]) -> list[Change]:
    before, after = row["before"], row["after"]
    where = f"{row['table']} {row['key']}"
    if row["statements"]:
        return [Change(where, "", ", ".join(row["statements"]))]
    if before is None or after is None:
        return [Change(where, "not there" if before is None else "there", "gone" if after is None else "there")]
    return [Change(f"{where}: {name}", str(before.get(name)), str(value)) for name, value in after.items()]


async def view(request: Request) -> Mapping[str, Any]:
    """A page of the log."""
    address = TableAddress.of(request)
    asked = {name: address.query.get(name) or None for name in FILTERS}
    after = address.after if address.after is not None and address.after.isdecimal() else None
    found = await admin_of(request).get_or(
        "/audit", None, limit=ROWS, after=after, tenant=asked["tenant"], actor=asked["actor"], object=asked["object"]
    )
    rows = None
    if found is not None:
        rows = page_from_api(address, [entry_of(one) for one in found["entries"]], found["next"])
    return {
        "rows": rows,
        "asked": {name: value or "" for name, value in asked.items()},
        "filtered": any(asked.values()),
    }


PAGE = Page("/audit", "Audit log", "log", shown("/audit", "audit.html", view), place=90)
