"""`If-Match` and `ETag`: a write can insist on what its caller has read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from fastapi import Header, Response

from registry.etags import NOTHING

IfMatch = Annotated[
    str | None,
    Header(description="`etag` of what was read: the order is refused with a 412 when it is another by now."),
]
IfNoneMatch = Annotated[
    str | None, Header(description="`*`: the order is refused with a 412 when there is one already.", pattern=r"^\*$")
]


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
