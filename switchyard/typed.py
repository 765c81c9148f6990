"""Errors of the registry name its fields; on the command line they name the options that a person types.

A message names a field at its beginning (`label is …`), among those to choose from, or, where the name has an
underscore, anywhere outside of quotes. In its place comes the option whose parameter, or whose own word, is called so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from registry.errors import RegistryError


def name_as_typed(command: Any) -> None:
    """Let a click command, or every command of a group, raise errors that name its options."""
    for below in getattr(command, "commands", {}).values():
        name_as_typed(below)
    if command.callback is not None and not hasattr(command, "commands"):
        command.callback = _naming(command.callback, _options(command))


def as_typed(message: str, options: Mapping[str, str]) -> str:
    """The message with options in place of the fields that are called so."""
    for name, option in options.items():
        message = re.sub(rf"^{name}(?= (?:is|are|would|has|have)\b)", option, message)
        if "choose from " in message:
            message = re.sub(rf"(?:(?<=choose from )|(?<=, )){name}(?=, |$)", option, message)
        if "_" in name:
            message = re.sub(rf"(?<![\w'\"`/.=-]){name}(?![\w'\"`/=-])", option, message)
    return message


def _options(command: Any) -> Mapping[str, str]:
    """By the names that errors know them by."""
    found: dict[str, str] = {}
    for parameter in command.params:
        typed = next((one for one in parameter.opts if one.startswith("--")), None)
        if typed is not None:
            found[typed.removeprefix("--").replace("-", "_")] = found[parameter.name] = typed
    return found


def _naming(callback: Callable[..., Any], options: Mapping[str, str]) -> Callable[..., Any]:
    @wraps(callback)
    def named(*args: Any, **kwargs: Any) -> Any:
        try:
            return callback(*args, **kwargs)
        except RegistryError as error:
            error.message = as_typed(error.message, options)
            raise

    return named
