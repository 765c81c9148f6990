"""What processes have imported at the end of some code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOADED = "print(json.dumps(sorted(name for name, module in sys.modules.items() if module)))"
"""`None` in the place of a module says that it must not be imported."""
FORKS = """
import json, os, sys, traceback
{first}
for arguments, file in json.load(sys.stdin):
    pid = os.fork()
    if pid == 0:
        sys.argv = ["switchyard", *arguments]
        sys.stdout = open(file, "w")
        try:
{code}
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(pid, 0)[1]:
        sys.exit(f"{{arguments}} has failed")
"""
TIMEOUT_S = 120


def loaded_by(code: str, *arguments: str) -> set[str]:
    """Packages and modules that a new process has imported at the end of `code`, which ends with `LOADED`."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    return _last_line(done.stdout)


def loaded_by_each(
    first: str, code: str, cases: Iterable[tuple[str, ...]], folder: Path, environment: Mapping[str, str] | None = None
) -> dict[tuple[str, ...], set[str]]:
    """The same of `code` with each of these arguments, in processes that are all forked from one that has run `first`.

    What `first` imports all of them have imported, so it must be nothing that none of them may.
    """
    files = {arguments: folder / str(number) for number, arguments in enumerate(cases)}
    indented = "\n".join(f"            {line}" for line in code.strip().splitlines())
    done = subprocess.run(
        [sys.executable, "-c", FORKS.format(first=first, code=indented)],
        input=json.dumps([(arguments, str(file)) for arguments, file in files.items()]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {arguments: _last_line(file.read_text()) for arguments, file in files.items()}


def _last_line(output: str) -> set[str]:
    return set(json.loads(output.splitlines()[-1]))
