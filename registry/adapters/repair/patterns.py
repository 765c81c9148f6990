"""Module patterns of `adapter_config.json`, matched as PEFT and vLLM match them, but never at a stranger's expense.

PEFT and vLLM run `alpha_pattern` keys and a textual `target_modules` as regular expressions. A hostile one takes
longer than the engine lives. So only a small subset is run here, in which no match can take long: letters, `.`,
digits, two `.*` at most, and three of them and of choices between plain words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_LENGTH = 256
MAX_WILDCARDS, MAX_LOOSE = 2, 3
MAX_LOOSE_KEYS, MAX_KEYS = 8, 256
MAX_MODULES = 2_000
"""Together these bound a whole repair to some 10**8 steps of the matcher."""

DIGITS = r"(?:\\d|\[0-9\])\+?"
CHOICE = r"\((?:\?:)?\w+(?:\|\w+)*\)"
SAFE = re.compile(rf"\^?(?:[\w-]|\\?\.(?![*+?])|{DIGITS}|\.[*+]\??|{CHOICE})+\$?", re.ASCII)
CHOICE_FORM = re.compile(CHOICE, re.ASCII)
WILDCARD = re.compile(r"\.[*+]")
LOOSE = re.compile(rf"\.[*+]|{CHOICE}", re.ASCII)


def is_safe(pattern: str) -> bool:
    """Whether matching `pattern` against any module name takes a bounded, small number of steps."""
    if len(pattern) > MAX_LENGTH or SAFE.fullmatch(pattern) is None or _looseness(pattern) > MAX_LOOSE:
        return False
    if len(WILDCARD.findall(pattern)) > MAX_WILDCARDS:
        return False
    choices = (match.group().strip("(?:)").split("|") for match in CHOICE_FORM.finditer(pattern))
    return all(len(set(words)) == len(words) for words in choices)  # repeated words multiply the steps


def matching(pattern: str, modules: Iterable[str]) -> list[str]:
    """The modules that a safe `target_modules` pattern stands for (PEFT's rule: the whole name must match)."""
    rule = re.compile(pattern)
    return [module for module in modules if rule.fullmatch(module)]


@dataclass(frozen=True, slots=True)
class SafePatterns:
    """An `alpha_pattern` whose keys are safe: the first key that ends the module's name at a dot wins (PEFT's rule)."""

    rules: tuple[tuple[re.Pattern[str], float], ...]

    @classmethod
    def of(cls, values: Mapping[str, float]) -> SafePatterns | None:
        """None when a key, or all of them together, might take long."""
        loose = sum(1 for pattern in values if _looseness(pattern))
        if len(values) > MAX_KEYS or loose > MAX_LOOSE_KEYS or not all(is_safe(pattern) for pattern in values):
            return None
        return cls(tuple((re.compile(rf"(.*\.)?({key})$"), value) for key, value in values.items()))

    def get(self, module: str) -> float | None:
        """The value for `module`; None when no key matches."""
        return next((value for rule, value in self.rules if rule.match(module)), None)


def _looseness(pattern: str) -> int:
    return len(LOOSE.findall(pattern))
