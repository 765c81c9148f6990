"""How a process yields the processors to others.

Where the kernel groups processes by their sessions (`sched_autogroup_enabled`, a desktop's and a server's default), a
niceness counts among those of one session alone, and sessions have equal parts: a child that has a session of its own
would yield to nobody. So its session yields too.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

AGAIN_S, TIMES = 0.1, 3
"""The kernel changes one session in a tenth of a second for all who are not root."""


def yield_processors(niceness: int, pid: int) -> None:
    """A process of ours lets all others go first from now on: by 0 to 19, which is most. It may take some tenths of a
    second. Raises `ProcessLookupError` for one that is gone.
    """
    os.setpriority(os.PRIO_PROCESS, pid, max(niceness, os.getpriority(os.PRIO_PROCESS, pid)))
    if os.getsid(pid) == pid:
        with suppress(OSError):  # another system, or a kernel without such groups
            _session_yields(pid, niceness)


def _session_yields(pid: int, niceness: int) -> None:
    for left in reversed(range(TIMES)):
        try:
            Path(f"/proc/{pid}/autogroup").write_text(str(niceness))
        except BlockingIOError:
            if not left:
                raise
            time.sleep(AGAIN_S)
        else:
            return
