"""What a child does before all else, so that it dies with who started it, even by kill -9."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def die_with_parent(number: int = signal.SIGTERM, parent: int | None = None) -> Callable[[], None] | None:
    """To be called in the child: the kernel sends it that signal when the thread that has started it ends. `parent` is
    the process of that one, if not this. `None` where there is no such kernel.
    """
    if sys.platform != "linux":
        return None
    starter, prctl = os.getpid() if parent is None else parent, ctypes.CDLL(None, use_errno=True).prctl

    def before_exec() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != starter:  # it died before the kernel was told
            os._exit(1)

    return before_exec
