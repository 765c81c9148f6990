"""Ports for what is started on this machine and is to be found at its port again: nobody else takes one meanwhile.

A port that the kernel has just given (`bind` to port 0) is free for a moment only: the next connection that anybody
begins may have it, or the next process that asks for a port. So these are none of the kernel's: they are below or above
`ip_local_port_range`. Each process has a block of them for as long as it lives, and gives those first that it has given
longest ago. That a block is taken is said by its first port, which is bound and never listened on.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

HERE = "127.0.0.1"
KERNELS = Path("/proc/sys/net/ipv4/ip_local_port_range")
USUAL_KERNELS = range(32_768, 61_000)
ALL = range(10_000, 65_536)
"""Below are those that services are known by."""
RAYS = range(10_002, 20_000)
"""Of these Ray gives its workers some."""
BLOCK = 128
STEP = 37
"""Blocks between those at which processes with neighbouring ids begin to look, so that they seldom look at the same."""


class Ports:
    """Of one process."""

    def __init__(self, blocks: Iterable[range]) -> None:
        """Takes the first of these blocks that is not taken. Raises `OSError` when all are."""
        self._ports = deque(_taken(blocks))

    def next(self) -> int:
        """One that nobody listens on. Raises `OSError` when there is none."""
        for _ in range(len(self._ports)):
            self._ports.rotate(-1)
            if _is_free(self._ports[-1]):
                return self._ports[-1]
        raise OSError(errno.EADDRINUSE, f"ports {min(self._ports)} to {max(self._ports)} are all listened on: end some")


def _taken(blocks: Iterable[range]) -> range:
    """The rest of the block whose first port is ours from now on."""
    for block in blocks:
        mark = socket.socket()
        try:
            mark.bind((HERE, block.start))
        except OSError:  # another process has it
            mark.close()
        else:
            mark.detach()  # it is open until this process ends
            return block[1:]
    raise OSError(errno.EADDRINUSE, f"other processes have all ports from {ALL.start} on: end some")


def blocks(kernels: range, first: int) -> Iterator[range]:
    """Those outside the kernel's ports, or all if it has all; the one to begin with depends on the number `first`."""
    every = [ALL[start : start + BLOCK] for start in range(0, len(ALL) - BLOCK, BLOCK)]
    free = [one for one in every if _apart(one, kernels)]
    ours = [one for one in free if _apart(one, RAYS)] or free or every
    for number in range(len(ours)):
        yield ours[(first * STEP + number) % len(ours)]


def _apart(one: range, other: range) -> bool:
    return one.stop <= other.start or one.start >= other.stop


def _kernels() -> range:
    try:
        least, most = map(int, KERNELS.read_text().split())
    except (OSError, ValueError):  # another system
        return USUAL_KERNELS
    return range(least, most + 1)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HERE, port))
        except OSError:
            return False
        return True


@cache
def _of_process(pid: int) -> Ports:
    return Ports(blocks(_kernels(), pid))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, and that neither the kernel nor another process which asks here
    gives to anybody while this one lives. Raises `OSError` when there is none.
    """
    return _of_process(os.getpid()).next()  # a copy of a process has ports of its own
