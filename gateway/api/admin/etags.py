"""`If-Match` and `ETag`: a write can insist on what its caller has read, and a read need not be sent twice."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Annotated

from fastapi import Header, Request, Response

from registry.etags import NOTHING

IfMatch = Annotated[
    str | None,
    Header(description="`etag` of what was read: the order is refused with a 412 when it is another by now."),
]
IfNoneMatch = Annotated[
    str | None, Header(description="`*`: the order is refused with a 412 when there is one already.", pattern=r"^\*$")
]


MOST_HASHED = 1 << 20
"""Bytes of an answer: they are a millisecond of the event loop."""


def expected_by(if_match: str | None, if_none_match: str | None = None) -> Collection[str] | None:
    """The etags that both headers allow, as the registry takes them; `None` when they say nothing."""
    if if_none_match is not None:
        return {NOTHING}
    if if_match is None:
        return None
    return {one.strip().strip('"') for one in if_match.split(",")}


def tag(response: Response, etag: str) -> None:
    """Say in the answer's head which state its body shows."""
    response.headers["etag"] = f'"{etag}"'


def unless_known(request: Request, answer: Response) -> Response:
    """The answer to a read, or a 304 where the caller has just that (`If-None-Match`). Answers without a state of their
    own are known by their bytes: weakly, so that no write can insist on these.
    """
    body = getattr(answer, "body", None)
    if answer.status_code != 200 or not isinstance(body, bytes) or "etag" in answer.headers or len(body) > MOST_HASHED:
        return answer
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'
    known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    if etag in known:
        return Response(status_code=304, headers={"etag": etag})
    answer.headers["etag"] = etag
    return answer
