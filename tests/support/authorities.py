"""The certificate authorities, loaded once: every HTTP client loads them anew, which is 30 ms of a test each time."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import pytest
from httpx._transports import default as transports


@cache
def _loaded(*_environment: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    if verify is True and cert is None:
        return _loaded(*map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR"))) if trust_env else _certifi()
    return httpx.create_ssl_context(verify, cert, trust_env)


@cache
def _certifi() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


@pytest.fixture(scope="session", autouse=True)
def authorities() -> Iterator[None]:
    """Clients of this process share what they trust."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transports, "create_ssl_context", _context)
        yield
