"""A process that has imported a program of ours, and becomes it once more whenever it is asked, in a copy of itself.

`python -m tests.support.fork_server DESCRIPTOR for=PROGRAM ROOM`: orders come in on the socket, each with the three
standard files of the new process; its number is the answer. From its first line on the copy is what `python -m PROGRAM
…` would be: arguments, environment, folder, files, session, and its parent, which is who ordered it. In the place of
ROOM comes what is shown as its command line.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from registry.children.with_parent import die_with_parent

NUMBER_BYTES = 4
STANDARD = 3
ROOM_BYTES = 4096
STORES = (
    "registry.adapters.store",
    "registry.archive.store",
    "registry.catalog.reader",
    "registry.deletion.store",
    "registry.engine_costs.store",
    "registry.experiments.store",
    "registry.fleet.engines",
    "registry.fleet.leadership",
    "registry.outcomes.retention",
    "registry.service",
    "registry.tenants.model_names",
)
SERVING = (
    *STORES,
    "gateway.api.admin.router",
    "gateway.checks",
    "gateway.serving.one_process",
    "gateway.serving.processes",
    "gateway.serving.running",
    "gateway.serving.supervisor",
    "obstore.store",
    "pydantic.v1",  # FastAPI asks of every route whether it is of these
    "switchyard.command_line",
    "switchyard.commands.gateway",
    "switchyard.missing",
    "switchyard.ordering",
    "switchyard.typed",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
)
PROGRAMS: dict[str, tuple[str, ...]] = {
    "gateway.clerk_process": (),
    "gateway.cost.accountant": (),
    "gateway.experiments.analyst": (),
    "gateway.experiments.simulating": (),
    "loadtest.mock_engine": ("uvicorn.loops.uvloop",),
    "registry.archive.child": ("duckdb",),
    "registry.prices.looking_up": (),
    "switchyard": SERVING,
    "tests.support.program": SERVING,
    "tests.support.publishing": STORES,
    "trainer.jobs.child": ("trainer.making:set_environment",),
}
"""What of each is imported before it is asked for, beside its own module: some of what it imports while it runs. A
function after a colon is called.
"""
AHEAD = "IMPORTED_AHEAD"
"""What a program calls the modules that it imports itself before it is asked for."""


@dataclass(frozen=True)
class Order:
    """One start. `niceness` is added to this process's, as the command `nice` does."""

    arguments: list[str]
    command_line: list[str]
    environment: dict[str, str]
    folder: str
    parent: int
    interruptible: bool
    """Whether Ctrl-C ends it: what a shell has begun in the background ignores it, and so does all that it starts."""
    new_session: bool
    dies_with_parent: int
    """The signal that then ends it; 0: none does."""
    ends_first: bool
    """Whether the kernel ends it before others when memory is short."""
    niceness: int
    umask: int
    processors: list[int]

    def encoded(self) -> bytes:
        """With its length before it."""
        body = json.dumps(asdict(self)).encode()
        return len(body).to_bytes(NUMBER_BYTES, "little") + body


def received(link: socket.socket) -> tuple[Order, list[int]] | None:
    """An order and its files; `None` when nobody is left who could send one."""
    head, files, _, _ = socket.recv_fds(link, NUMBER_BYTES, STANDARD)
    if not head:
        return None
    body = b""
    while len(body) < (length := int.from_bytes(head, "little")):
        body += link.recv(length - len(body)) or sys.exit("half of an order")
    return Order(**json.loads(body)), files


def prepare(program: str) -> None:
    """Import it. What is there stays, so nothing of it is ever looked through for garbage, which would copy it."""
    gc.disable()
    is_package = hasattr(importlib.import_module(program), "__path__")
    main = f"{program}.__main__" if is_package else program
    ahead = getattr(importlib.import_module(main), AHEAD, ())
    for name in (*PROGRAMS[program], *ahead):
        module, _, function = name.partition(":")
        imported = importlib.import_module(module)
        if function:
            getattr(imported, function)()
    del sys.modules[main]  # it is run under another name
    gc.freeze()
    gc.enable()


def serve(link: socket.socket) -> tuple[Order, list[int]]:
    """Fork whenever there is an order. Returns in each copy, and never here."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who ordered
    while (came := received(link)) is not None:
        order, files = came
        pid, end = _forked(order.new_session)
        if not pid:
            link.detach()
            os.read(end, 1)  # until it has its parent
            return order, files
        link.sendall((pid if _parent_of(pid) == order.parent else 0).to_bytes(NUMBER_BYTES, "little"))
        for number in (end, *files):
            os.close(number)
    sys.exit()


def _forked(new_session: bool) -> tuple[int, int]:
    """A copy of this process, whose own parent has ended: so it is a child of the nearest one above that takes orphans.

    Its number, and the end of a pipe to close when it may begin; in the copy 0, and the end to read. Its session, if it
    has one of its own, is there by then, as it is when `Popen` returns: its group can be ended at once.
    """
    wait, go = os.pipe()
    hear, say = os.pipe()
    between = os.fork()
    if not between:
        if os.fork():
            os._exit(0)
        if new_session:
            os.setsid()
        os.write(say, os.getpid().to_bytes(NUMBER_BYTES, "little"))
        for number in (go, hear, say):
            os.close(number)
        return 0, wait
    os.close(say)
    os.waitpid(between, 0)
    pid = int.from_bytes(os.read(hear, NUMBER_BYTES), "little")
    for number in (wait, hear):
        os.close(number)
    if not pid:
        sys.exit("the copy ended before it had said its number")
    return pid, go


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def become(program: str, order: Order, files: list[int]) -> None:
    """What was ordered, up to its first line."""
    if order.ends_first:
        Path("/proc/self/oom_score_adj").write_text("1000")
    if order.dies_with_parent and (dies := die_with_parent(order.dies_with_parent, order.parent)) is not None:
        dies()
    os.nice(order.niceness)
    os.umask(order.umask)
    os.sched_setaffinity(0, order.processors)
    if order.interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(STANDARD, os.sysconf("SC_OPEN_MAX"))
    if os.isatty(1):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    of_language = {name: os.environ[name] for name in ("LC_CTYPE",) if name in os.environ}  # an interpreter may set it
    os.environ.clear()
    os.environ.update(order.environment | of_language)
    os.chdir(order.folder)
    packages = [one for one in order.environment.get("PYTHONPATH", "").split(os.pathsep) if one]
    sys.path[:1] = [order.folder, *packages]
    sys.argv = [program, *order.arguments]
    _show(order.command_line)


def _show(command_line: list[str]) -> None:
    """What `ps` shows, in the room that there is."""
    begins, ends = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    line = b"\0".join(map(os.fsencode, command_line))[: ends - begins - 1]
    ctypes.memmove(begins, line.ljust(ends - begins, b"\0"), ends - begins)


if __name__ == "__main__":
    program = sys.argv[2].removeprefix("for=")
    prepare(program)
    become(program, *serve(socket.socket(fileno=int(sys.argv[1]))))
    runpy.run_module(program, run_name="__main__", alter_sys=True)
