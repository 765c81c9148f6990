"""What a request is called: a name of ours, and the client's own beside it."""

from __future__ import annotations

import os
import random
import time

_ids = random.Random(os.urandom(32))
"""Request ids must be unique, not secret; the kernel's generator would cost a system call for each."""
RANDOM_BITS = 80


def new_id() -> str:
    """128 bits in hexadecimal that begin with the milliseconds since the epoch: a table with millions of them is
    appended to, where random ones would be inserted all over it.
    """
    return f"{(time.time_ns() // 1_000_000 << RANDOM_BITS) | _ids.getrandbits(RANDOM_BITS):032x}"
