"""The reason of a child's end is found in its log, and nothing else is taken for one. Its logs are bounded."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from gateway.serving.last_words import reason_of
from gateway.serving.run_logs import RunLog

INFO = "(APIServer pid=7) INFO 11-28 17:10:11 [launcher.py:46] Route: /v1/load_lora_adapter, Methods: POST\n"
WARNING = (
    "(APIServer pid=7) WARNING 11-28 17:11:01 [system_utils.py:255] Found ulimit of 20000. This can cause fd limit "
    "errors like `OSError: [Errno 24] Too many open files`.\n"
)
ACCESS = 'INFO:     127.0.0.1:5 - "POST /v1/completions HTTP/1.1" 500 Internal Server Error\n'
PORT = INFO + (
    "Traceback (most recent call last):\n"
    '  File "launcher.py", line 348, in create_server_socket\n    sock.bind(addr)\n'
    "OSError: [Errno 98] Address already in use\n"
)
CORE = INFO + "".join(
    f"(EngineCore_DP0 pid=9) ERROR 11-28 17:10:11 [core.py:700] {line}\n"
    for line in (
        "EngineCore failed to start.",
        "Traceback (most recent call last):",
        '  File "core.py", line 691, in run_engine_core',
        "    raise ValueError(",
        "ValueError: No available memory for the cache blocks.",
    )
)
WRAPPED = CORE + (
    "(APIServer pid=7) Traceback (most recent call last):\n"
    '(APIServer pid=7)   File "utils.py", line 1, in wait\n'
    "(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
)
PYDANTIC = (
    "Traceback (most recent call last):\n"
    '  File "arg_utils.py", line 1, in create_model_config\n'
    "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
    "  Value error, Invalid repository ID or local directory specified: '/nowhere'.\n"
    "    For further information visit https://errors.pydantic.dev\n"
)
CHAINED = (
    "Traceback (most recent call last):\n"
    '  File "a.py", line 1, in <module>\n'
    "KeyError: 'x'\n\n"
    "During handling of the above exception, another exception occurred:\n\n"
    "Traceback (most recent call last):\n"
    '  File "a.py", line 3, in <module>\n'
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.\n"
)
CANCELLED = 'Traceback (most recent call last):\n  File "a.py", line 1\nasyncio.exceptions.CancelledError\n'
ARGUMENT = "usage: api_server.py [-h]\napi_server.py: error: argument --max-loras: invalid int value: 'x'\n"
UVICORN = (
    "ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 8001): address already in use\n"
    "INFO:     Waiting for application shutdown.\nINFO:     Application shutdown complete.\n"
)
ABORTED = "terminate called after throwing an instance of 'c10::Error'\n  what():  out of threads\n"
FAULT = 'Fatal Python error: Segmentation fault\n\nThread 0x7f (most recent call first):\n  File "x.py", line 1 in f\n'
OURS = "error: gateway port: 127.0.0.1:8000 is taken (Address already in use); stop the program that listens there\n"


@pytest.mark.parametrize(
    ("status", "log", "words"),
    [
        (1, PORT, "OSError: [Errno 98] Address already in use"),
        (1, CORE, "ValueError: No available memory for the cache blocks."),
        (1, WRAPPED, "ValueError: No available memory for the cache blocks."),
        (1, PYDANTIC, "Invalid repository ID or local directory specified: '/nowhere'."),
        (1, CHAINED, "torch.OutOfMemoryError: CUDA out of memory."),
        (2, ARGUMENT, "argument --max-loras: invalid int value"),
        (1, UVICORN, "address already in use"),
        (1, OURS, "127.0.0.1:8000 is taken"),
        (1, PORT + ACCESS * 20, "OSError: [Errno 98] Address already in use"),
        (1, PORT + CANCELLED, "OSError: [Errno 98] Address already in use"),
        (-signal.SIGABRT, ABORTED, "out of threads"),
        (-signal.SIGSEGV, FAULT, "Fatal Python error: Segmentation fault"),
        (1, INFO + "no such model\n", "no such model"),
    ],
)
def test_the_reason_is_the_error_that_the_log_ends_with(status: int, log: str, words: str) -> None:
    reason = reason_of(status, log)
    assert words in reason
    assert "root cause above" not in reason


@pytest.mark.parametrize(
    ("status", "log"),
    [
        (1, ""),
        (0, INFO),
        (1, INFO),
        (1, WARNING),
        (1, ACCESS),
        (-signal.SIGSEGV, INFO + ACCESS),
        (1, PORT + ACCESS * 200),
        (1, CANCELLED),
        (1, "Loading safetensors:  50%|#####     | 1/2 [00:01<00:01]\n"),
        (0, "goodbye\n"),
    ],
)
def test_a_log_that_names_no_reason_is_not_quoted(status: int, log: str) -> None:
    assert reason_of(status, log).endswith(", and its log names no reason")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_who_was_ended_by_others_is_not_asked_for_a_reason(number: signal.Signals) -> None:
    assert reason_of(-number, PORT).startswith(f"killed by {number.name}")
    assert "Errno" not in reason_of(-number, PORT)


def test_the_kernels_kill_for_memory_is_told_from_somebodys() -> None:
    assert "memory ran out" in reason_of(-signal.SIGKILL, "", oom_killed=True)
    assert "kill -9" in reason_of(-signal.SIGKILL, "")


def test_a_log_that_is_full_goes_on_in_a_new_file_and_loses_nothing(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "engine.log", kept=2, max_bytes=100)
    log.begin_run()
    log.mark("begin")
    writer = os.open(log.path, os.O_WRONLY | os.O_APPEND)
    for number in range(60):
        os.write(writer, f"line {number:02}\n".encode())
        log.trim()
    os.close(writer)
    newest, older, oldest = (tmp_path / name for name in ("engine.log", "engine.1.log", "engine.2.log"))
    kept = (oldest.read_text() + older.read_text() + newest.read_text()).splitlines()
    assert kept == [f"line {number:02}" for number in range(60)][-len(kept) :]
    assert len(kept) > 26, "both older files are full"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine.1.log", "engine.2.log", "engine.log"]
    assert all(path.stat().st_size <= 108 for path in tmp_path.iterdir())
    assert log.text().splitlines()[-1] == "line 59"


def test_only_so_many_runs_are_kept_and_an_empty_one_is_none(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "engine.log", kept=3)
    for number in range(10):
        log.begin_run()
        log.begin_run()
        log.mark(str(number))
    assert sorted(path.read_text().strip() for path in tmp_path.iterdir()) == ["6", "7", "8", "9"]


def test_words_of_an_earlier_start_are_not_the_reason_of_the_next(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "engine.log")
    log.mark("first start")
    log.path.write_text(log.path.read_text() + PORT)
    log.mark("second start")
    assert reason_of(1, log.text()).endswith("names no reason")
