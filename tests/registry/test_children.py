"""Children that are asked: whatever one does, its parent hears of it in time, and the next question starts another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry.children.asked import AskedChild, ChildGone, ChildSlow, ask_once, last_words, with_packages
from registry.children.yielding import yield_processors

WITHIN_S = 60.0
NICENESS = 7
ECHO = """
import sys
from registry.children.mouth import Mouth
mouth = Mouth()
print("a library that prints")
for line in sys.stdin.buffer:
    print("another")
    mouth.say(line)
"""


def child_of(program: str, stderr: int | None = None) -> AskedChild:
    return AskedChild(
        "the child", (sys.executable, "-c", program), lambda: os.environ, niceness=NICENESS, stderr=stderr
    )


@pytest.fixture
def echo() -> Iterator[AskedChild]:
    child = child_of(ECHO)
    yield child
    child.close()


def test_it_is_started_by_the_first_question_and_answers_one_after_the_other(echo: AskedChild) -> None:
    assert echo.process is None
    assert echo.ask(b'{"a": 1}\n', 1, WITHIN_S) == [{"a": 1}]
    first = echo.process
    assert echo.ask(b"1\n2\n", 2, WITHIN_S) == [1, 2]
    assert echo.process is first


def test_what_it_prints_is_no_answer(tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("wb") as stderr:
        child = child_of(ECHO, stderr.fileno())
        assert child.ask(b"1\n", 1, WITHIN_S) == [1]
        assert child.process is not None
        assert child.process.stdin is not None
        child.process.stdin.close()  # as the kernel does when its parent dies
        assert child.process.wait(WITHIN_S) == 0
        child.close()
    assert (tmp_path / "stderr").read_text().splitlines() == ["a library that prints", "another"]


def test_of_one_that_has_died_its_status_is_told_and_the_next_question_starts_another(echo: AskedChild) -> None:
    echo.ask(b"1\n", 1, WITHIN_S)
    assert echo.process is not None
    os.kill(echo.process.pid, signal.SIGKILL)
    with pytest.raises(ChildGone, match="the child ended with status -9"):
        echo.ask(b"1\n", 1, WITHIN_S)
    assert echo.process is None
    assert echo.ask(b"2\n", 1, WITHIN_S) == [2]


def test_one_that_rests_is_started_again_and_one_that_is_closed_is_not(echo: AskedChild) -> None:
    echo.ask(b"1\n", 1, WITHIN_S)
    echo.rest()
    assert echo.process is None
    assert echo.ask(b"2\n", 1, WITHIN_S) == [2]
    echo.close()
    assert echo.process is None
    with pytest.raises(ChildGone, match=r"^the child is closed$"):
        echo.ask(b"3\n", 1, WITHIN_S)


def test_one_that_is_closed_while_it_is_started_ends() -> None:
    starts, goes_on = threading.Event(), threading.Event()

    def environment() -> dict[str, str]:
        starts.set()
        assert goes_on.wait(WITHIN_S)
        return dict(os.environ)

    child = AskedChild("the child", (sys.executable, "-c", ECHO), environment, niceness=NICENESS)
    with ThreadPoolExecutor(1) as pool:
        asks = pool.submit(child.ask, b"1\n", 1, WITHIN_S)
        assert starts.wait(WITHIN_S)
        child.close()
        goes_on.set()
        with pytest.raises(ChildGone, match=r"^the child is closed$"):
            asks.result(WITHIN_S)
    assert child.process is None


def test_one_that_dies_between_two_answers_has_given_none() -> None:
    child = child_of("print(1, flush=True); import os; os._exit(3)")
    with pytest.raises(ChildGone, match="the child ended with status"):
        child.ask(b"", 2, WITHIN_S)
    assert child.process is None


def test_one_that_hangs_is_ended_also_while_it_is_asked(echo: AskedChild) -> None:
    for question in (b"1\n", b'"%b"\n' % (b"x" * (1 << 20))):  # more than a pipe holds
        echo.ask(b"1\n", 1, WITHIN_S)
        process = echo.process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(ChildSlow, match=r"has not answered within 0.1 s, and was ended"):
            echo.ask(question, 1, 0.1)
        assert process.returncode == -signal.SIGKILL


def test_one_that_says_what_is_no_answer_is_ended() -> None:
    child = child_of("import time; print('{', flush=True); time.sleep(60)")
    with pytest.raises(ChildGone, match=r"the child ended with status -9, at unexpected end of data"):
        child.ask(b"", 1, WITHIN_S)
    assert child.process is None


def test_a_program_that_is_not_there_is_told() -> None:
    child = AskedChild("the child", ("/nowhere/to/be/found",), lambda: os.environ, niceness=NICENESS)
    with pytest.raises(ChildGone, match=r"the child could not be started: .*No such file"):
        child.ask(b"", 1, WITHIN_S)
    with pytest.raises(ChildGone, match=r"the child could not be started: .*No such file"):
        ask_once("the child", ("/nowhere/to/be/found",), b"", within_s=WITHIN_S)


def test_one_that_is_asked_once_answers_or_says_why_not() -> None:
    def asked(program: str, within_s: float = WITHIN_S) -> bytes:
        return ask_once("the child", (sys.executable, "-c", program), b"1\n2\n", within_s=within_s)

    assert asked(ECHO) == b"1\n2\n"
    with pytest.raises(ChildGone, match=r"^ValueError: no$"):
        asked("raise ValueError('no')")
    with pytest.raises(ChildGone, match=r"^status 7$"):
        asked("raise SystemExit(7)")
    with pytest.raises(ChildSlow, match=r"has not answered within 0.1 s"):
        asked("import time; time.sleep(60)", 0.1)


def test_the_last_words_of_one_that_said_nothing_are_its_status() -> None:
    assert last_words(b" \n", 4) == "status 4"
    assert last_words(b"Traceback\nKeyError: 'x'\n", 1) == "KeyError: 'x'"


def test_a_child_finds_our_packages_wherever_it_runs(tmp_path: Path) -> None:
    found = with_packages({"PYTHONPATH": str(tmp_path)})["PYTHONPATH"].split(os.pathsep)
    assert found == [str(Path(__file__).parents[2]), str(tmp_path)]
    assert with_packages({})["PYTHONPATH"] == found[0]


def session_niceness(pid: int) -> int | None:
    """Of the session of a process among others; `None` where the kernel does not group processes so, or not this one:
    a session that nobody has made (a container's first) has a file without a line.
    """
    group = Path(f"/proc/{pid}/autogroup")
    words = group.read_text().split() if group.exists() else []
    return int(words[-1]) if words else None


def test_it_yields_to_its_parent_and_so_does_its_session_where_the_kernel_shares_by_sessions(echo: AskedChild) -> None:
    echo.ask(b"1\n", 1, WITHIN_S)
    assert echo.process is not None
    pid = echo.process.pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0))
    assert os.getsid(pid) == pid, "else its parent would yield with it"
    assert session_niceness(pid) in (None, NICENESS)


def test_a_process_in_its_parents_session_yields_alone() -> None:
    before = session_niceness(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield_processors(NICENESS, child.pid)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) >= NICENESS
        assert session_niceness(child.pid) == before


def test_a_session_that_cannot_yield_yet_yields_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel changes one in a tenth of a second."""
    written: list[str] = []

    def refuse_once(_path: Path, text: str) -> None:
        written.append(text)
        if len(written) == 1:
            raise BlockingIOError

    monkeypatch.setattr(Path, "write_text", refuse_once)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as child:
        yield_processors(NICENESS, child.pid)
    assert written == [str(NICENESS)] * 2
