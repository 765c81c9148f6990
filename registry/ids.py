"""Ids of what clients are told of, in OpenAI's form: a kind, and random letters and digits."""

from __future__ import annotations

import re
import secrets
import string

_LETTERS = string.ascii_lowercase + string.digits
_CHARS = 24
_FILE_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_ID = re.compile(rf"[a-z]{{1,10}}-[a-z0-9]{{{_CHARS}}}")


def new_id(kind: str) -> str:
    """Such as `ftjob-` and 24 random characters, a-z and 0-9."""
    return f"{kind}-{''.join(secrets.choice(_LETTERS) for _ in range(_CHARS))}"


def new_file_id(prefix: str) -> str:
    """Of a file (`file-`), an upload (`upload_`) or a part of one (`part_`): the prefix and 24 random hex digits."""
    return f"{prefix}{secrets.token_hex(12)}"


def can_be_file_id(text: str) -> bool:
    """Whether a file or an upload may be called so: not every database can be asked for everything."""
    return _FILE_ID.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """Whether `new_id` can have made it: of anything else no database is asked."""
    return _ID.fullmatch(text) is not None
