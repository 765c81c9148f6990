"""Where things are, for clients that were told a slightly other address: a base URL with a slash at its end, with /v1
twice or without it, or with /openai before it as Azure has it.

They are served where they meant to be, and never redirected, which loses bodies; other addresses are told the nearest.
"""

from __future__ import annotations

from collections.abc import Collection, MutableMapping
from difflib import get_close_matches
from typing import Any

from fastapi import FastAPI
from starlette.routing import Match, Route

from gateway.api.dialects import BY_PATH, DIALECTS
from gateway.api.dialects.dialect import Dialect

MODELS = "/v1/models"
DEPLOYMENTS = ("openai", "deployments")
"""Before the name of a model, in addresses of Azure's clients."""
MODEL_NAMED = "switchyard.model"
"""In a scope: what the address calls the model."""
STATE = (
    "responses",
    "conversations",
    "files",
    "uploads",
    "fine_tuning",
    "webhook_endpoints",
    "webhook_event_types",
    "feedback",
)
"""Below these, behind /v1, is what a tenant keeps."""
ALIASES = {"/health": "/healthz", "/v2/rerank": "/v1/rerank"}
MOST_COMPARED = 200
"""Characters of an unknown path that are compared with the known ones."""


def canonical(path: str) -> str:
    """The address that a path means: without doubled or trailing slashes, with one /v1 where the API has it.

    What follows `/v1/models/` is a model's name, and stays as it is but for slashes around it.
    """
    parts = [part for part in path.split("/") if part]
    if parts[:2] == ["openai", "v1"]:
        del parts[0]
    versions = next((number for number, part in enumerate(parts) if part != "v1"), len(parts))
    parts = ["v1", *parts[versions:]]
    if parts[:2] == ["v1", "models"]:
        model = path.partition("models")[2].strip("/")
        return f"{MODELS}/{model}" if model else MODELS
    found = "/" + "/".join(parts)
    if found in BY_PATH or (len(parts) > 1 and parts[1] in STATE):
        return found
    bare = "/" + "/".join(part for part in path.split("/") if part)
    return ALIASES.get(bare, bare)


def form_at(path: str) -> Dialect:
    """The dialect whose form an error has at an address: the one that is served there or above it, else OpenAI's."""
    parts = [part for part in path[:MOST_COMPARED].split("/") if part]
    above = (canonical("/".join(parts[:length])) for length in range(len(parts), 0, -1))
    return next((BY_PATH[one] for one in above if one in BY_PATH), DIALECTS["chat"])


def of_deployment(path: str) -> tuple[str, str] | None:
    """The address and the model of such as `/openai/deployments/MODEL/chat/completions`; `None`: it is none of them."""
    parts = [part for part in path.split("/") if part]
    if tuple(parts[:2]) != DEPLOYMENTS:
        return None
    for begin in range(3, len(parts)):  # a name may have slashes in it
        found = "/v1/" + "/".join(parts[begin:])
        if found in BY_PATH:
            return found, "/".join(parts[2:begin])
    return None


def where_it_may_be(path: str, web: FastAPI) -> str:
    """A sentence for who asks at an unknown path: the served one that looks most like it."""
    paths = [route.path for route in web.routes if isinstance(route, Route) and "{" not in route.path]
    known = sorted({*BY_PATH, *paths})
    nearest = _nearest(path[:MOST_COMPARED].lower(), known)
    if nearest is None:
        kept = (f"/v1/{name}" for name in STATE)
        return f"Served are {', '.join((*BY_PATH, MODELS, *kept))}."
    return f"Did you mean {nearest}?"


def _nearest(path: str, known: Collection[str]) -> str | None:
    parts = path.split("/")
    for begin in range(len(parts)):  # behind what somebody's base URL has too much
        tail = canonical("/".join(parts[begin:]))
        if tail in known:
            return tail
    return next(iter(get_close_matches(canonical(path), known, n=1, cutoff=0.75)), None)


def allowed_methods(web: FastAPI, scope: MutableMapping[str, Any]) -> list[str]:
    """What a path takes, over all routes that have it; HEAD wherever GET is."""
    methods: set[str] = set()
    for route in web.routes:
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))
