"""How a body may be sent: JSON, whatever its Content-Type calls it, but no form."""

from __future__ import annotations

from gateway.api.codings import refusal
from gateway.errors import UnsupportedMedia

FORMS = (b"application/x-www-form-urlencoded", b"multipart/")


def refuse_coded(content_encoding: bytes) -> None:
    """Raises `UnsupportedMedia` for a body that is compressed, where only small ones are sent."""
    if content_encoding.strip().lower() not in (b"", b"identity"):
        raise refusal("This address reads no compressed bodies; send it without 'Content-Encoding'.", "identity")


def refuse_forms(content_type: bytes) -> None:
    """Raises `UnsupportedMedia` for a form: `curl -d` says that it sends one unless told otherwise, and who believes it
    finds that it is none.
    """
    kind = content_type.strip().lower()
    if kind.startswith(FORMS):
        raise UnsupportedMedia(
            f"The body is sent as a form ('Content-Type: {kind[:60].decode('latin-1')}'); send JSON, with "
            "'Content-Type: application/json'. With curl: -H 'Content-Type: application/json'.",
            param="Content-Type",
            code="unsupported_media_type",
        )
