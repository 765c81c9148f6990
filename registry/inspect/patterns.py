"""Module patterns of `adapter_config.json`, matched as PEFT and vLLM match them, but never at a stranger's expense.

PEFT and vLLM run `rank_pattern` keys and a textual `target_modules` as regular expressions. A hostile one takes
longer than the engine lives. So only a small subset is admitted, in which no match can take long: letters, `.`,
digits, at most `MAX_LOOSE` of `.*` and of choices between plain words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_LENGTH = 256
MAX_LOOSE = 3
MAX_LOOSE_KEYS = 8
"""Together with `MAX_LOOSE` these bound a whole inspection to some 10**8 steps of the matcher."""

DIGITS = r"(?:\\d|\[0-9\])\+?"
CHOICE = r"\((?:\?:)?\w+(?:\|\w+)*\)"
SAFE = re.compile(rf"\^?(?:[\w-]|\\?\.(?![*+?])|{DIGITS}|\.[*+]\??|{CHOICE})+\$?", re.ASCII)
CHOICE_FORM = re.compile(CHOICE, re.ASCII)
LOOSE = re.compile(rf"\.[*+]|{CHOICE}", re.ASCII)


def is_safe(pattern: str) -> bool:
    """Whether matching `pattern` against any module name takes a bounded, small number of steps."""
    if len(pattern) > MAX_LENGTH or SAFE.fullmatch(pattern) is None or _looseness(pattern) > MAX_LOOSE:
        return False
    choices = (match.group().strip("(?:)").split("|") for match in CHOICE_FORM.finditer(pattern))
    return all(len(set(words)) == len(words) for words in choices)  # repeated words multiply the steps


def too_many_loose(patterns: Iterable[str]) -> bool:
    """Whether more than `MAX_LOOSE_KEYS` of the patterns hold a `.*` or a choice."""
    return sum(1 for pattern in patterns if _looseness(pattern)) > MAX_LOOSE_KEYS


def _looseness(pattern: str) -> int:
    return len(LOOSE.findall(pattern))


class Override:
    """A `rank_pattern` or `alpha_pattern`: the first key that ends the module's name at a dot wins (PEFT's rule)."""

    def __init__(self, values: dict[str, float]) -> None:
        self._rules = [(re.compile(rf"(.*\.)?({key})$"), value) for key, value in values.items()]

    def get(self, module: str, default: float) -> float:
        """The value for `module`, else `default`."""
        return next((value for rule, value in self._rules if rule.match(module)), default)


def matches_targets(module: str, targets: str | tuple[str, ...], is_linear: bool) -> bool:
    """PEFT's rule for `target_modules`: a full regular expression, or names that end the module's name at a dot."""
    if targets == "all-linear":
        return is_linear
    if isinstance(targets, str):
        return re.fullmatch(targets, module) is not None
    return any(module == target or module.endswith(f".{target}") for target in targets)
