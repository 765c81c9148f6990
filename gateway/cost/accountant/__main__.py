"""The child: reads a question a line, answers with a line about the answer and its bytes, and ends when nobody asks."""

from __future__ import annotations

import gc
import logging
import select
import sys
from collections.abc import Iterator
from typing import Any

import orjson
from sqlalchemy.exc import SQLAlchemyError

from gateway.cost.accountant.questions import QUESTIONS
from gateway.cost.allocation import REMEMBERED, Remembered
from registry.children.mouth import Mouth
from registry.errors import RegistryError
from registry.service import Registry

IDLE_S = 300.0
"""After so long without a question its memory is worth more than its start."""
log = logging.getLogger("switchyard.cost")
AWAY = "away"
"""The fault when the database cannot be used."""


def answer_to(registry: Registry, line: bytes) -> tuple[dict[str, Any], bytes]:
    """What is said of an answer, and the answer."""
    what, parameters = orjson.loads(line)
    try:
        answer = QUESTIONS[what](**parameters).answer(registry)
    except RegistryError as error:
        return {"bytes": 0, "fault": type(error).__name__, "message": error.message, "param": error.param}, b""
    except SQLAlchemyError as error:
        log.warning("%s", error)
        return {"bytes": 0, "fault": AWAY}, b""
    return {"bytes": len(answer.body), "media_type": answer.media_type, "following": answer.following}, answer.body


def _lines() -> Iterator[bytes]:
    """Questions, until nobody asks any more."""
    while select.select([sys.stdin], [], [], IDLE_S)[0]:
        line = sys.stdin.buffer.readline()
        if not line:
            return
        yield line


def main() -> None:
    """Answer."""
    mouth = Mouth()
    REMEMBERED.set(Remembered())  # a page asks several things of one month
    with Registry.open() as registry:
        for line in _lines():
            about, body = answer_to(registry, line)
            mouth.say(orjson.dumps(about) + b"\n" + body)
            del body
            gc.collect()


if __name__ == "__main__":
    gc.disable()  # an answer makes a million small tuples: to look through them while it does would be half of its time
    gc.freeze()
    main()
