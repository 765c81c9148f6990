"""A process that looks at answers: frames on standard input, a line of JSON for each on standard output.

    frame = length of the head, length of the answer (4 bytes each, big-endian), head (JSON), answer
    head  = {"streamed": bool, "checks": {"pattern", "schema"} or null}
    line  = {"found": {metric: share}, "unscored": why not all of it, or null}

What tenants declare runs here and nowhere else, for `MOST_S` at most: Python's matcher and a validator of schemas both
look for signals while they work.
"""

from __future__ import annotations

import re
import resource
import signal
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from statistics import fmean
from types import FrameType
from typing import Any, BinaryIO

import orjson

from gateway.scoring.answers import choices_of
from gateway.scoring.findings import findings
from registry.children.mouth import Mouth

HEAD = struct.Struct(">II")
MOST_S = 0.25
"""Of a processor's time: to read an answer, and once more to check it."""
MOST_MEMORY = 1 << 30
"""Bytes of address space."""
MOST_SLOW = 3
"""A declaration that took too long so often is not tried again."""
KEPT_CHECKS = 64
RECURSION = 2_000


class TakesTooLong(Exception):
    """An answer, or what an adapter declares of it."""


class Looker:
    """What this process remembers: which declarations took too long."""

    def __init__(self) -> None:
        self._slow = Counter[bytes]()

    def line(self, head: bytes, answer: bytes) -> bytes:
        """What is said of an answer."""
        asked = orjson.loads(head)
        checks = None if asked["checks"] is None else orjson.dumps(asked["checks"])
        said: dict[str, Any] = {"found": {}, "unscored": None}
        try:
            with _time_limit():
                choices = choices_of(answer, streamed=asked["streamed"])
                said["found"] = findings(choices)
            if checks is not None and (spoken := [one.text for one in choices if not one.calls_tools]):
                said["found"]["conformance"] = self._conforming(checks, spoken)
        except TakesTooLong:
            said["unscored"] = "takes too long"
        except Exception:  # whatever an answer or a declaration provokes, those of others in the group are looked at
            said["unscored"] = "not understood"
        return orjson.dumps(said) + b"\n"

    def _conforming(self, checks: bytes, spoken: Sequence[str]) -> float:
        """The share of these texts that have the declared form. Raises `TakesTooLong`."""
        if self._slow[checks] >= MOST_SLOW:
            raise TakesTooLong
        _bring_what_is_needed(checks)
        try:
            with _time_limit():
                check = check_of(checks)
                return fmean(check(text) for text in spoken)
        except TakesTooLong:
            self._slow[checks] += 1
            raise


@contextmanager
def _time_limit() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _on_alarm(_number: int, _frame: FrameType | None) -> None:
    raise TakesTooLong


@lru_cache(KEPT_CHECKS)
def check_of(checks: bytes) -> Callable[[str], bool]:
    """Whether a text matches the pattern as a whole, and is JSON that follows the schema, if these are declared."""
    declared = orjson.loads(checks)
    pattern = None if declared["pattern"] is None else re.compile(declared["pattern"], re.DOTALL)
    validator = None if declared["schema"] is None else _validator(declared["schema"])

    def check(text: str) -> bool:
        text = text.strip()
        if pattern is not None and pattern.fullmatch(text) is None:
            return False
        return validator is None or _follows(validator, text)

    return check


def _bring_what_is_needed(checks: bytes) -> None:
    """Import it before the clock runs: an import that is interrupted leaves half a module behind."""
    if b'"schema":null' not in checks:
        import referencing.exceptions  # noqa: F401


def _validator(schema: Any) -> Any:
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    return validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())  # which fetches nothing


def _follows(validator: Any, text: str) -> bool:
    from referencing.exceptions import Unresolvable

    try:
        return bool(validator.is_valid(orjson.loads(text)))
    except (orjson.JSONDecodeError, Unresolvable):
        return False


def serve(source: BinaryIO, say: Callable[[bytes], None]) -> None:
    """Until the input ends."""
    looker = Looker()
    while len(lengths := source.read(HEAD.size)) == HEAD.size:
        head, answer = HEAD.unpack(lengths)
        say(looker.line(source.read(head), source.read(answer)))


def main() -> None:
    """As a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    sys.setrecursionlimit(RECURSION)
    signal.signal(signal.SIGVTALRM, _on_alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us: our input ends with it
    serve(sys.stdin.buffer, Mouth().say)


if __name__ == "__main__":
    main()
