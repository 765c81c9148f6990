"""Scores of single answers. Pure, standard library only."""

from __future__ import annotations

import json
from collections.abc import Callable


def json_exact(answer: str, reference: str) -> bool:
    """Both are JSON and the same value; blanks and the order of keys do not matter."""
    try:
        return bool(json.loads(answer) == json.loads(reference))
    except (ValueError, RecursionError):  # a model may well say nothing but brackets
        return False


def label_exact(answer: str, reference: str) -> bool:
    """The same text apart from outer blanks."""
    return answer.strip() == reference.strip()


METRICS: dict[str, Callable[[str, str], bool]] = {"json_exact": json_exact, "label_exact": label_exact}
