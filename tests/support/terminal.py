"""What a command shows on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def bytes_on_a_terminal(
    command: Sequence[str], columns: int, environment: Mapping[str, str] | None = None, typed: str | None = None
) -> bytes:
    """All that the command writes on a terminal that is so wide, to stdout and stderr. It must succeed.

    What is `typed` waits in the terminal until the command reads it.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command,
        stdin=None if typed is None else slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env={**plain, **(environment or {}), "TERM": "xterm"},
    )
    if typed is not None:
        os.write(master, typed.encode())
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += os.read(master, 65_536)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert process.wait() == 0, shown.decode(errors="replace")
    return shown
