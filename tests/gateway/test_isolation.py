"""The isolation self-test and `doctor` on the mock engine: what must be found is found, and nothing is left behind."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.engines.isolation import (
    ABANDONED_S,
    NAME_PREFIX,
    CannotTest,
    Folders,
    Isolation,
    differ,
    examine,
    speakers,
    write_test_adapters,
)
from gateway.engines.kind import Word
from gateway.engines.vllm.control import VllmControl
from gateway.engines.zero_adapter import write_zero_adapter
from loadtest.mock_engine.options import Options
from loadtest.testing import MockEngine, run_mock_engine
from registry.adapters.inspect import inspect_adapter
from registry.bases.fingerprint import Fingerprint, FingerprintProbe, write_fingerprint
from registry.bases.model import BaseSpec, describe_base
from registry.errors import AdapterRefused
from tests.support.adapter_folders import TinyBase, tiny_base
from tests.support.cli_runner import Run, done, run
from tests.support.stack import run as run_async

__all__ = ["done", "run"]
PLACES = 16


@pytest.fixture(scope="module")
def folders(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    cache, spec = tmp_path_factory.mktemp("cache"), describe_base(base)
    return Folders(write_test_adapters(cache, spec, max_rank=16), write_zero_adapter(cache / "zero", spec))


@asynccontextmanager
async def engine_of(base: Path, **options: Any) -> AsyncIterator[VllmControl]:
    """An engine slow enough for requests to meet in its batches; both of its slots are the test's."""
    async with run_mock_engine(model=str(base), **{"max_loras": 2, "token_ms": 5, **options}) as engine:
        control = VllmControl(engine.url)
        try:
            yield control
        finally:
            await control.close()


async def self_test(control: VllmControl, folders: Folders, places: int = PLACES) -> Isolation:
    async with speakers(control, folders, places) as names:
        return await examine(control, names)


async def adapters_on(control: VllmControl) -> set[str]:
    return {card.id for card in (await control.models()).values() if card.parent is not None}


async def test_the_zero_adapter_cures_that_engine_and_it_is_left_as_it_was(base: Path, folders: Folders) -> None:
    async with engine_of(base) as control:
        result = await self_test(control, folders)
        assert result.cross_talk == ()
        assert result.asked >= 27
        assert await adapters_on(control) == set()


async def test_a_base_that_gets_an_adapter_in_mixed_batches_is_found(base: Path, folders: Folders) -> None:
    async with engine_of(base) as control:
        result = await self_test(control, Folders(folders.adapters, zero=None))
        assert {found.speaker for found in result.cross_talk} == {"base"}
        assert all(found.expected != found.got for found in result.cross_talk)
        assert await adapters_on(control) == set()


async def test_an_engine_that_loads_without_effect_is_told_from_one_that_isolates(base: Path, folders: Folders) -> None:
    async with engine_of(base) as control:
        async with httpx.AsyncClient() as http:
            await http.post(f"{control.base_url}/mock/faults", json={"noop_adapters": True})
        with pytest.raises(CannotTest, match="without effect"):
            await self_test(control, folders)
        assert await adapters_on(control) == set()


async def test_it_needs_free_places_and_says_how_many(base: Path, folders: Folders) -> None:
    async with engine_of(base) as control:
        await control.load_adapter("a-0123456789abcdef-1", folders.adapters[0])
        with pytest.raises(CannotTest, match="needs 3 free places for adapters and the engine has 2 of 3"):
            await self_test(control, folders, places=3)
        assert await adapters_on(control) == {"a-0123456789abcdef-1"}


async def test_names_of_a_killed_self_test_are_cleared_and_those_of_a_running_one_are_not(
    base: Path, folders: Folders
) -> None:
    now = int(time.time())
    old, young = f"{NAME_PREFIX}{now - ABANDONED_S - 5:x}-dead-0", f"{NAME_PREFIX}{now - 5:x}-beef-0"
    async with engine_of(base) as control:
        for name in (old, young):
            await control.load_adapter(name, folders.adapters[0])
        async with speakers(control, folders, PLACES) as names:
            assert await adapters_on(control) == {young, *names.values()}
        assert await adapters_on(control) == {young}


def test_the_adapters_fit_the_base_leave_other_layers_alone_and_are_the_same_every_time(
    base: Path, tmp_path: Path
) -> None:
    spec = describe_base(base)
    first, second = write_test_adapters(tmp_path, spec, max_rank=2)
    assert write_test_adapters(tmp_path / "again", spec, max_rank=2)[0].name == first.name
    weights = [(folder / "adapter_model.safetensors").read_bytes() for folder in (first, second)]
    assert weights[0] != weights[1]
    assert (tmp_path / "again" / first.name / "adapter_model.safetensors").read_bytes() == weights[0]
    with pytest.raises(AdapterRefused) as refused:  # and nothing else is wrong with them: shapes, pairs, values
        inspect_adapter(first, spec, max_rank=2)
    assert {finding.code for finding in refused.value.findings} == {"module_missing"}


def test_an_architecture_without_attention_outputs_cannot_be_tested(tmp_path: Path) -> None:
    spec: BaseSpec = tiny_base(linears={"model.layers.0.mixer.in_proj": (8, 8)})
    with pytest.raises(CannotTest, match="no o_proj"):
        write_test_adapters(tmp_path, spec, max_rank=16)


def test_an_answer_counts_up_to_the_first_choice_that_was_not_clear() -> None:
    clear, close = Word("a", -0.1, 2.0), Word("b", -1.0, 0.1)
    other = Word("z", -0.1, 2.0)
    assert differ((clear, close), (other, close))
    assert not differ((clear, close), (clear, other))
    assert not differ((clear, close, clear), (clear, other, other))
    assert differ((clear, clear), (clear, other))


@pytest.fixture
def engine_url(base: Path, tmp_path: Path, done: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An engine that `doctor` is told of, with its base registered."""
    mock = MockEngine(Options(model=str(base), max_loras=3, token_ms=2))
    run_async(mock.start())
    monkeypatch.setenv("SWITCHYARD_ENGINES", f'["{mock.url}"]')
    monkeypatch.setenv("SWITCHYARD_ENGINE_PLATFORM", "cpu")
    done("base", "register", "tiny", base)
    yield mock.url
    run_async(mock.stop())


def checks_of(run: Run, *options: str) -> dict[str, Any]:
    return {check["name"]: check for check in run("doctor", "--json", *options).document}


def test_doctor_prints_the_defects_of_each_engine_and_their_cures_when_it_is_asked(run: Run, engine_url: str) -> None:
    (cured,) = [
        defect
        for defect in checks_of(run)[f"engine {engine_url}"]["defects"]
        if defect["name"] == "base-gets-an-adapter-in-mixed-batches"
    ]
    assert "all-zero adapter" in cured["cure"]
    assert "vllm#48421" in cured["upstream"]
    assert "worked around: `switchyard doctor --defects` lists them" in run("doctor").out
    text = run("doctor", "--defects").out
    assert f"Known defects of engine {engine_url}, vLLM 0.32.0" in text
    assert "name-reuse-kills-the-engine" in text


def test_doctor_tests_isolation_when_it_is_asked(run: Run, engine_url: str) -> None:
    assert f"isolation {engine_url}" not in checks_of(run)
    found = checks_of(run, "--isolation")
    assert found[f"isolation {engine_url}"]["ok"], found
    assert "none mixed up" in found[f"isolation {engine_url}"]["found"]
    assert "unverified" in found[f"base of {engine_url}"]["found"]
    assert "unverified" in found[f"chat template of {engine_url}"]["found"]


def test_doctor_says_how_an_engine_was_started(run: Run, engine_url: str) -> None:
    found = checks_of(run)[f"flags of {engine_url}"]
    assert found["ok"], found
    assert found["found"].startswith("generates, 1024 tokens, 3 adapters at once, no tools (`switchyard base tool-pars")
    assert found["found"].endswith("no reasoning parser")


def test_doctor_says_which_flags_engines_lack(base: Path, run: Run, done: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[dict[str, Any]] = [
        {"enable_prompt_tokens_details": False, "enable_request_id_headers": False, "max_model_len": 512},
        {"tool_call_parser": "hermes", "reasoning_parser": "qwen3", "api_key": "secret"},
        {"runner": "pooling", "max_model_len": 256},
    ]
    mocks = [MockEngine(Options(model=str(base), **options)) for options in chosen]
    for mock in mocks:
        run_async(mock.start())
    try:
        engines = [{"url": mock.url, "api_key": mock.options.api_key or ""} for mock in mocks]
        monkeypatch.setenv("SWITCHYARD_ENGINES", json.dumps(engines))
        done("base", "register", "tiny", base)
        found = checks_of(run)
    finally:
        for mock in mocks:
            run_async(mock.stop())
    bare, whole, pooling = (found[f"flags of {mock.url}"] for mock in mocks)
    assert not bare["ok"]
    assert bare["remedy"].startswith("add --enable-prompt-tokens-details, or")
    for flag in ("; --enable-request-id-headers, ", "; --max-model-len 1024 as its neighbour"):
        assert flag in bare["remedy"]
    assert (whole["ok"], whole["found"]) == (True, "generates, 1024 tokens, 4 adapters at once, tools, reasoning")
    assert (pooling["ok"], pooling["found"]) == (True, "pools, 256 tokens, 4 adapters at once")


def test_doctor_says_that_an_engine_serves_another_base(
    run: Run, done: Run, engine_url: str, base: Path, tmp_path: Path
) -> None:
    copy = TinyBase().write(tmp_path / "copy")  # the same model, with a fingerprint that the engine does not have
    write_fingerprint(Fingerprint((FingerprintProbe((1, 2, 3), (2,), (-30.0,)),)), copy)
    done("base", "register", "tiny", copy)
    found = checks_of(run, "--isolation")[f"base of {engine_url}"]
    assert not found["ok"]
    assert "nats from tiny" in found["found"]
    assert "serves another model" in found["remedy"]


def test_doctor_says_why_it_could_not_test(
    run: Run, engine_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks_of(run, "--isolation")
    monkeypatch.setenv("SWITCHYARD_ENGINE_BASE", "no-such-base")
    found = checks_of(run, "--isolation")["isolation of every engine"]
    assert not found["ok"]
    assert "no base model 'no-such-base'" in found["remedy"]
    monkeypatch.delenv("SWITCHYARD_ENGINE_BASE")
    monkeypatch.setenv("SWITCHYARD_ENGINES", f'[{{"url": "{engine_url}", "max_cpu_loras": 3}}]')
    httpx.post(
        f"{engine_url}/v1/load_lora_adapter",
        json={
            "lora_name": "a-1",
            "lora_path": next(str(path) for path in (tmp_path / "state/adapters").glob("zero-*")),
        },
    ).raise_for_status()
    assert "needs 3 free places" in checks_of(run, "--isolation")[f"isolation {engine_url}"]["remedy"]
