"""Files that pictures are drawn into."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from registry.errors import InvalidInput
from switchyard.console import say

Form = Literal["png", "svg"]


def form_of(file: Path, param: str = "plot") -> Form:
    """By the end of its name. Raises `InvalidInput` for another one, and where there is no folder for it."""
    if not file.parent.is_dir():
        raise InvalidInput(
            f"{param} is {str(file)!r}, and {file.parent} is no folder; name one that there is", param=param
        )
    form: Form
    for form in get_args(Form):
        if file.suffix.lower() == f".{form}":
            return form
    raise InvalidInput(f"{param} is {file.name!r}; name a file that ends with .png or .svg", param=param)


def write_picture(file: Path, picture: bytes, param: str = "plot") -> None:
    """Into a file that `form_of` has found good, and say so. Raises `InvalidInput` when it cannot be written."""
    try:
        file.write_bytes(picture)
    except OSError as error:
        raise InvalidInput(
            f"{param} is {str(file)!r}, which cannot be written: {error.strerror}", param=param
        ) from None
    say(f"the picture is in {file}", err=True)
