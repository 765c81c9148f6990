"""Transfer codings: `chunked` is read, and what is in another one is not taken for what it is when it is decoded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.api.addresses import form_at
from gateway.api.request_ids import RequestIds
from gateway.api.respond import Respond
from gateway.errors import UnsupportedTransfer


def is_read(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a body with these headers (names in lower case) is read as it was sent: plain, or once `chunked`."""
    codings = []
    for name, value in headers:
        if name == b"transfer-encoding":
            codings.append(value)
    if not codings or codings == [b"chunked"]:
        return True
    parts = [part.strip().lower() for value in codings for part in value.split(b",")]
    return [part for part in parts if part] == [b"chunked"]


async def refuse_coding(scope: Any, receive: Any, send: Any) -> None:
    """The answer to a request in another transfer coding, and the end of its connection."""
    error = UnsupportedTransfer(
        "The header Transfer-Encoding names another coding than chunked, which is the only one that is read; compress "
        "with Content-Encoding instead.",
        param="Transfer-Encoding",
        code="unsupported_transfer_encoding",
    )
    error.headers = ((b"connection", b"close"),)
    await Respond(send, form_at(scope["path"]), began_s=0, ids=RequestIds(scope["headers"])).fail(error)
