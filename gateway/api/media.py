"""How a body may be sent: JSON, whatever its Content-Type calls it, but no form."""

from __future__ import annotations

from gateway.errors import UnsupportedMedia

FORMS = (b"application/x-www-form-urlencoded", b"multipart/")


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
