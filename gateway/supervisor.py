"""`switchyard up`: an engine and a gateway as children of one process that stops them whatever happens."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

import httpx

from gateway.checks import Check
from gateway.embedded import EmbeddedEngine
from gateway.samples import Sample
from registry.console import live, say

ENGINE_START_TIMEOUT_S = 300.0
GATEWAY_START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.25
PR_SET_PDEATHSIG = 1


class StartFailed(Exception):
    """A child did not come up; the message is one sentence with the remedy."""


class Stopped(Exception):
    """Ctrl-C or SIGTERM."""


def require(checks: list[Check]) -> None:
    """Raise `StartFailed` with the first finding that is not ok."""
    for check in checks:
        if not check.ok:
            raise StartFailed(f"{check.name}: {check.found}; {check.remedy}")


@contextmanager
def stop_signals() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into `Stopped`, so that every `finally` runs."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def die_with_parent() -> None:
    """In the child, before exec: the kernel ends it when the supervisor dies, even by kill -9."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def child(
    command: list[str], environment: Mapping[str, str], log: Path, *, grace_s: float = 0.0
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own (Ctrl-C reaches us, and we stop it in order); always gone after the block.

    It gets `grace_s` more than others to end.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
        try:
            yield process
        finally:
            _stop(process, STOP_TIMEOUT_S + grace_s)


def _stop(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # whatever it started itself
    process.wait()


def wait_until_up(what: str, url: str, process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> float:
    """Poll `url` until it answers 200, with a live line; return the seconds it took. Raises `StartFailed`."""
    began = time.monotonic()
    with live(what) as line:
        while True:
            elapsed = time.monotonic() - began
            line.update(f"{what} … {elapsed:.0f} s (log: {log})")
            if process.poll() is not None:
                raise StartFailed(f"{what}: it ended with status {process.returncode}; {last_line(log)}; see {log}")
            if elapsed > timeout_s:
                raise StartFailed(f"{what}: not up after {timeout_s:.0f} s; see {log}")
            try:
                if httpx.get(url, timeout=2.0).status_code == 200:
                    return elapsed
            except httpx.HTTPError:
                pass
            time.sleep(POLL_S)


def last_line(log: Path) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it wrote nothing"


def ask(url: str, key: str, sample: Sample) -> str:
    """One real request to a sample's adapter; its answer as text."""
    body = {"model": sample.model, "temperature": 0, **sample.request}
    answer = httpx.post(url + sample.path, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=120.0)
    if answer.status_code != 200:
        raise StartFailed(f"{sample.model} did not answer: HTTP {answer.status_code} {answer.text[:300]}")
    choice = answer.json()["choices"][0]
    return str(choice["message"]["content"] if "message" in choice else choice["text"]).strip()


def calls_to_paste(url: str, keys: Mapping[str, str], chat: Sample, completion: Sample) -> str:
    """A curl call and an `openai` call, complete."""
    body = json.dumps({"model": completion.model, "temperature": 0, **completion.request})
    shell_body = body.replace("'", "'\\''")
    return f"""\
curl {url}{completion.path} \\
  -H 'Authorization: Bearer {keys[completion.tenant]}' -H 'Content-Type: application/json' \\
  -d '{shell_body}'

{sys.executable} - <<'PYTHON'
from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key="{keys[chat.tenant]}")
answer = client.chat.completions.create(
    model="{chat.model}",
    messages={chat.request["messages"]!r},
    temperature=0,
    max_tokens={chat.request["max_tokens"]},
)
print(answer.model, answer.choices[0].message.content)
PYTHON"""


def watch(children: Mapping[str, subprocess.Popen[bytes]], logs: Path) -> None:
    """Return never; raise `StartFailed` when a child ends by itself, `Stopped` on a signal."""
    while True:
        for name, process in children.items():
            if process.poll() is not None:
                raise StartFailed(
                    f"{name} ended with status {process.returncode}; {last_line(logs / f'{name}.log')}; see {logs}"
                )
        time.sleep(1.0)


def start_engine(stack: ExitStack, engine: EmbeddedEngine, logs: Path) -> subprocess.Popen[bytes]:
    """Start vLLM and wait until it is healthy."""
    process = stack.enter_context(child(engine.command(), engine.environment(), logs / "engine.log"))
    took = wait_until_up(
        "engine: loading the base model",
        f"{engine.url}/health",
        process,
        logs / "engine.log",
        ENGINE_START_TIMEOUT_S,
    )
    say(f"engine    up in {took:.0f} s at {engine.url}")
    return process


def start_gateway(
    stack: ExitStack, url: str, environment: Mapping[str, str], logs: Path, grace_s: float
) -> subprocess.Popen[bytes]:
    """Start the gateway and wait until it is ready. At its end it may finish answers for `grace_s`."""
    command = [sys.executable, "-m", "switchyard", "gateway"]
    process = stack.enter_context(child(command, environment, logs / "gateway.log", grace_s=grace_s))
    took = wait_until_up(
        "gateway: loading adapters", f"{url}/readyz", process, logs / "gateway.log", GATEWAY_START_TIMEOUT_S
    )
    say(f"gateway   up in {took:.1f} s at {url}")
    return process
