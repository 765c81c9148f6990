"""Lists in settings: an environment variable has them with commas between the items, or as a JSON list."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_settings import NoDecode


def listed(given: Any) -> Any:
    """The items of a text; what is no text is as it should be. Raises `ValueError`."""
    if not isinstance(given, str):
        return given
    if not given.lstrip().startswith("["):
        return [item.strip() for item in given.split(",") if item.strip()]
    try:
        return json.loads(given)
    except json.JSONDecodeError as error:
        raise ValueError(f"neither items with commas between them nor a JSON list ({error})") from error


Names = Annotated[list[str], NoDecode, BeforeValidator(listed)]
