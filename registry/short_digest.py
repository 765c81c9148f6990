"""SHA-256 of what is short, as requests ask it: of their key, and of their unit where a split decides."""

from __future__ import annotations

try:  # Python's own: among the other work of a request it takes half the time that OpenSSL's takes
    from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]
except ModuleNotFoundError:  # from 3.12 on it has another name
    from hashlib import sha256

SHORT_BYTES = 256
"""Of more OpenSSL makes the same digest sooner (`hashlib.sha256`)."""

__all__ = ["SHORT_BYTES", "sha256"]
