"""The parent's end: a child that is asked one thing, or one thing after the other. All of it blocks: for a thread."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import orjson

from registry.children.yielding import yield_processors

T = TypeVar("T")
MAX_LINE_BYTES = 1 << 20
HOME = Path(__file__).parents[2]
"""Where the packages are, if they are not installed."""


class ChildGone(Exception):
    """A child has not answered: it could not be started, has ended, or was ended, as it took too long or said what is
    no answer.
    """


class ChildSlow(ChildGone):
    """It was ended because it took too long."""


class AskedChild:
    """At most one process. The first question starts it, and each after one at which it was lost. One question at a
    time; only `rest` and `close` may be called meanwhile.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Callable[[], Mapping[str, str]],
        *,
        niceness: int,
        stderr: int | None = None,
    ) -> None:
        """`name` is for sentences: `the analyst`; `niceness` is how much it yields to others, 0 to 19; `stderr` is as
        `subprocess.Popen` has it.
        """
        self._name = name
        self._command = command
        self._environment = environment
        self._niceness = niceness
        self._stderr = stderr
        self._process: subprocess.Popen[bytes] | None = None
        self.is_closed = False
        """Whether none is started any more."""

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The one that runs, if one does."""
        return self._process

    def ask(self, question: bytes, answers: int, within_s: float) -> list[Any]:
        """So many answers, each a document of JSON in a line. Raises `ChildGone`: the process has ended then.

        The child may read all of the question before it answers, so its answers must fit into a pipe (64 KiB) where it
        does not.
        """

        def lines(said: IO[bytes]) -> list[Any]:
            found = [said.readline(MAX_LINE_BYTES) for _ in range(answers)]
            if not all(found):
                raise EOFError
            return [orjson.loads(line) for line in found]

        return self.exchange(lambda asked: asked.write(question), lines, within_s)

    def ask_for_bytes(self, question: bytes, within_s: float) -> tuple[dict[str, Any], bytes]:
        """A document of JSON in a line, which says how many `bytes` follow it, and these. Raises `ChildGone`."""

        def take(said: IO[bytes]) -> tuple[dict[str, Any], bytes]:
            about: dict[str, Any] = orjson.loads(said.readline(MAX_LINE_BYTES))
            answer = said.read(about["bytes"])
            if len(answer) < about["bytes"]:
                raise EOFError
            return about, answer

        return self.exchange(lambda asked: asked.write(question), take, within_s)

    def exchange(self, write: Callable[[IO[bytes]], object], read: Callable[[IO[bytes]], T], within_s: float) -> T:
        """What `read` makes of what the child says to what `write` writes. `read` raises `EOFError` or `ValueError`
        where that is no answer. Raises `ChildGone`, and what else `write` and `read` raise: the process has ended then.
        """
        process = self._process or self.start()
        assert process.stdin is not None
        assert process.stdout is not None
        slow = threading.Event()
        watchdog = threading.Timer(within_s, _end, (process, slow))
        watchdog.daemon = True
        watchdog.start()
        try:
            write(process.stdin)
            process.stdin.flush()
            return read(process.stdout)
        except (OSError, ValueError, EOFError) as error:  # a closed file is a ValueError, and so is what is no JSON
            fault = f", at {error}" if str(error) else ""
        except BaseException:  # with half of a question, or of an answer, in its pipes
            self._ended(process)
            raise
        finally:
            watchdog.cancel()
        status = self._ended(process)
        if slow.is_set():
            raise ChildSlow(f"{self._name} has not answered within {within_s:g} s, and was ended")
        raise ChildGone(f"{self._name} ended with status {status}{fault}")

    def start(self) -> subprocess.Popen[bytes]:
        """A new process, where none runs. Raises `ChildGone`."""
        if self.is_closed:
            raise ChildGone(f"{self._name} is closed")
        try:
            process = self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=with_packages(self._environment()),
                start_new_session=True,
            )
        except OSError as error:
            raise ChildGone(f"{self._name} could not be started: {error}") from error
        with suppress(ProcessLookupError):  # closed meanwhile
            yield_processors(self._niceness, process.pid)
        if self.is_closed:  # perhaps before there was a process to end
            self._ended(process)
            raise ChildGone(f"{self._name} is closed")
        return process

    def rest(self) -> None:
        """End the process, if one runs, until there is a question again. What it was asked is lost."""
        if (process := self._process) is not None:
            self._ended(process)

    def close(self) -> None:
        """End the process, if one runs. What it was asked is lost, and no other is started."""
        self.is_closed = True
        self.rest()

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        """Its status."""
        self._process = None
        process.kill()
        status = process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what was not written is lost with it
                pipe.close()
        return status


def _end(process: subprocess.Popen[bytes], slow: threading.Event) -> None:
    slow.set()
    process.kill()


def ask_once(
    name: str, command: Sequence[str], question: bytes, *, within_s: float, environment: Mapping[str, str] | None = None
) -> bytes:
    """All that a child says which is asked one thing, and ends. `environment`: if it is another than ours.

    Raises `ChildGone`; with what it has said of it on standard error, if it failed.
    """
    try:
        done = subprocess.run(
            command,
            input=question,
            capture_output=True,
            env=with_packages(os.environ if environment is None else environment),
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ChildSlow(f"{name} has not answered within {within_s:g} s, and was ended") from None
    except OSError as error:
        raise ChildGone(f"{name} could not be started: {error}") from error
    if done.returncode:
        raise ChildGone(last_words(done.stderr, done.returncode))
    return done.stdout


def last_words(stderr: bytes, status: int) -> str:
    """The last line that a child which failed has said: most often its exception."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"status {status}"


def with_packages(environment: Mapping[str, str]) -> dict[str, str]:
    """In which a child finds our packages."""
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, (str(HOME), environment.get("PYTHONPATH"))))}
