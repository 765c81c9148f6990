"""Ids of what clients are told of, in OpenAI's form: a kind, and random letters and digits."""

from __future__ import annotations

import re
import secrets
import string

_LETTERS = string.ascii_lowercase + string.digits
_CHARS = 24
_ID = re.compile(rf"[a-z]{{1,10}}-[a-z0-9]{{{_CHARS}}}")


def new_id(kind: str) -> str:
    """Such as `ftjob-` and 24 random characters, a-z and 0-9."""
    return f"{kind}-{''.join(secrets.choice(_LETTERS) for _ in range(_CHARS))}"


def is_id(text: str) -> bool:
    """Whether `new_id` can have made it: of anything else no database is asked."""
    return _ID.fullmatch(text) is not None
