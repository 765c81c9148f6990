"""Where clients run: an environment for those of Python, a folder for those of JavaScript, each made once per lock.

They lie in the checkout's state folder, named by what is in their locks, so that a changed lock makes another one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.live.installation import ROOT

CLIENTS, NODE = ROOT / "requirements" / "clients.txt", ROOT / "requirements" / "node.txt"
PACKAGES = [Path(__file__).parent / name for name in ("package.json", "package-lock.json")]
LEAST_NODE = 20
"""Major version that the JavaScript clients want."""
INSTALL_S = 240
"""Seconds that an installation may take."""


@dataclass(frozen=True, slots=True)
class Environments:
    """What there is to run snippets with."""

    python: Path
    """The interpreter that has the clients of Python."""
    javascript: Path
    """The folder that has the clients of JavaScript; a program in it finds them."""
    programs: str
    """For PATH: the commands of both, and node."""


def environments() -> Environments:
    """Made if need be, both at once. Raises RuntimeError with what to do when one cannot be."""
    with ThreadPoolExecutor(2) as pool:
        python = pool.submit(_made, "clients-python", [CLIENTS], _make_python)
        javascript = pool.submit(_made, "clients-javascript", PACKAGES, _make_javascript)
        folders = python.result(), javascript.result()
    programs = [str(folders[0] / "bin"), str(_node_folder())]
    return Environments(folders[0] / "bin" / "python", folders[1], os.pathsep.join(programs))


def _made(name: str, locks: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """The folder for these locks. Whoever comes second waits for who makes it; what broke off is made anew."""
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:12]
    folder = ROOT / "var" / f"{name}-{digest}"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = folder / ".ready"
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            ready.touch()
    return folder


def _make_python(folder: Path) -> None:
    _run(_uv(), "venv", "-q", "--python", sys.executable, str(folder))
    _install(folder, CLIENTS)


def _install(folder: Path, lock: Path) -> None:
    python = str(folder / "bin" / "python")
    _run(_uv(), "pip", "install", "-q", "--python", python, "--no-deps", "--require-hashes", "-r", str(lock))


def _uv() -> str:
    return str(Path(sys.executable).parent / "uv")


def _make_javascript(folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in PACKAGES:
        shutil.copy(file, folder)
    node = _node_folder()
    environment = {**os.environ, "PATH": f"{node}{os.pathsep}{os.environ['PATH']}"}
    _run(
        *(str(node / "npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)),
        environment=environment,
    )


def _node_folder() -> Path:
    """Where node and npm are: the machine's, if they are new enough, else those of a package from PyPI."""
    found = shutil.which("node")
    if found is not None and shutil.which("npm", path=str(Path(found).parent)):
        told = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
        if told.startswith("v") and int(told[1:].partition(".")[0]) >= LEAST_NODE:
            return Path(found).parent
    return _made("node", [NODE], _make_node) / "bin"


def _make_node(folder: Path) -> None:
    _run(_uv(), "venv", "-q", "--python", sys.executable, str(folder))
    _install(folder, NODE)


def _run(*command: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"clients of docs/clients.md cannot be installed: `{' '.join(command)}` ended with {done.returncode}. "
            f"They come from the package indexes of Python and of npm.\n{done.stderr[-2_000:]}"
        )
