"""A process that does what takes long about large bodies: pickled work on standard input, what has become of it on
standard output. It ends when its input does, and so with its parent.
"""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from typing import Any

from gateway import added_bytes as _added_bytes  # noqa: F401
from gateway.clerk import Said, read, written
from gateway.steps import parse as _parse  # noqa: F401
from registry.children.mouth import Mouth

READS = Said(True, None)
"""What it says first: it has imported everything."""
MOST_MEMORY = 2 << 30
"""Bytes of address space."""
NEW_OBJECTS = 100_000
"""That there are before the garbage collector looks: what JSON is parsed to has no rings."""


def main() -> None:
    """Do what is asked until nothing more can come."""
    mouth = Mouth()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, most))
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, 20, 20)
    mouth.say(written(READS))
    while True:
        try:
            work = read(sys.stdin.buffer)
        except EOFError:
            return
        said = _done(work)
        del work
        mouth.say(said)


def _done(work: Callable[[], Any]) -> bytes:
    """What has become of it, as it is said."""
    try:
        return written(Said(True, work()))
    except Exception as error:
        try:
            return written(Said(False, error))
        except Exception:
            return written(Said(False, RuntimeError(f"{type(error).__name__}: {error}")))


if __name__ == "__main__":
    main()
