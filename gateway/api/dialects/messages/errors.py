"""Anthropic's envelope of errors, and which of its types an error of ours is."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.errors import ApiError

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def type_of(error: ApiError) -> str:
    """By its status, which Anthropic's SDK makes its exceptions of. What a later try does not change is not overload.

    Overload stays a 503, as everywhere here, and is no 529: proxies know it, and the SDK repeats both in the same way.
    """
    if error.status == 503 and error.should_retry is False:
        return "api_error"
    return _TYPES.get(error.status) or ("invalid_request_error" if error.status < 500 else "api_error")


def envelope(error: ApiError) -> bytes:
    """The JSON body. `details` are for programs: our code where Anthropic's SDK looks for one, and the field."""
    said: dict[str, Any] = {"type": type_of(error), "message": error.message}
    if error.code is not None:
        said["details"] = {"error_code": error.code, "param": error.param}
    return orjson.dumps({"type": "error", "error": said, "request_id": error.request_id})


def event(error: ApiError) -> bytes:
    """The last event of a stream that fails."""
    return b"event: error\ndata: %b\n\n" % envelope(error)
