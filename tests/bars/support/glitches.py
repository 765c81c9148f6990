"""A clock that jumps: by hours and by days, forward and back, again and again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

HOUR_S = 3_600
JUMPS_S = (0, 0, 25 * HOUR_S, -25 * HOUR_S, 13 * HOUR_S, -13 * HOUR_S, 40 * 24 * HOUR_S, HOUR_S)
EVERY_S = 0.03


@contextmanager
def jumping_clock(seed: int) -> Iterator[None]:
    """The wall clock of this process, for all of its threads, while the block runs; then it is right again. What is
    timed by clocks that do not jump is let be.
    """
    draw, ends, ahead_s = random.Random(seed), threading.Event(), [0]
    seconds, nanoseconds = time.time, time.time_ns

    def jump() -> None:
        while not ends.wait(EVERY_S):
            ahead_s[0] = draw.choice(JUMPS_S)

    jumping = threading.Thread(target=jump, name="jumping clock")
    with (
        patch.object(time, "time", lambda: seconds() + ahead_s[0]),
        patch.object(time, "time_ns", lambda: nanoseconds() + ahead_s[0] * 1_000_000_000),
    ):
        jumping.start()
        try:
            yield
        finally:
            ends.set()
            jumping.join()
