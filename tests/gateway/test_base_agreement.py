"""The base that an engine serves, compared with the one that was measured."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.engines.faults import ProbeRefused, Unreachable
from gateway.engines.fingerprint import MAX_DISAGREEMENT_NATS, base_agreement
from gateway.engines.vllm.control import VllmControl
from loadtest.mock_engine.options import Options
from loadtest.testing import MockEngine, run_mock_engine
from registry.bases.fingerprint import Fingerprint, FingerprintProbe
from tests.support.adapter_folders import VOCAB
from tests.support.cli_runner import Run, done, run
from tests.support.stack import run as run_async

__all__ = ["done", "run"]

TEXTS = ((11, 12, 13, 14, 15), (21, 22, 23, 24))
POSITIONS = (2, 3)


@pytest.fixture
async def control() -> AsyncIterator[VllmControl]:
    async with run_mock_engine(vocab_size=100) as engine:
        control = VllmControl(engine.url)
        yield control
        await control.close()


async def measured(control: VllmControl, off_by: float = 0.0) -> Fingerprint:
    """What the engine itself says, moved by some nats."""
    probes = []
    for text in TEXTS:
        said = [await control.next_token_logprob("base", text[:place], text[place], "") for place in POSITIONS]
        probes.append(FingerprintProbe(text, POSITIONS, tuple(value + off_by for value in said)))
    return Fingerprint(tuple(probes))


async def test_an_engine_agrees_with_the_fingerprint_of_its_own_base(control: VllmControl) -> None:
    assert await base_agreement(control, "base", (await measured(control)).questions()) == pytest.approx(0, abs=1e-9)


async def test_the_disagreement_is_the_mean_distance_in_nats(control: VllmControl) -> None:
    assert await base_agreement(control, "base", (await measured(control, off_by=-1.25)).questions()) == pytest.approx(
        1.25
    )
    assert MAX_DISAGREEMENT_NATS < 1.25


async def test_a_base_of_another_vocabulary_is_refused_by_the_engine_itself(control: VllmControl) -> None:
    strange = Fingerprint((FingerprintProbe((50, 101, 7), (2,), (-1.0,)),))
    with pytest.raises(ProbeRefused, match="out of vocabulary"):
        await base_agreement(control, "base", strange.questions())


async def test_an_engine_that_is_gone_cannot_be_compared() -> None:
    control = VllmControl("http://127.0.0.1:9")
    with pytest.raises(Unreachable):
        await base_agreement(control, "base", Fingerprint((FingerprintProbe((1, 2), (1,), (-1.0,)),)).questions())
    await control.close()


@pytest.fixture
def engine(base: Path) -> Iterator[MockEngine]:
    """One with places for what a self-test leaves, whose tokens are the base's."""
    mock = MockEngine(Options(model=str(base), max_loras=4, vocab_size=VOCAB))
    run_async(mock.start())
    yield mock
    run_async(mock.stop())


def test_a_base_is_known_by_what_an_engine_answers_where_nothing_here_computes_it(
    run: Run, done: Run, base: Path, engine: MockEngine
) -> None:
    done("base", "register", "tiny", base)
    measured = done("base", "fingerprint", "tiny", "--engine", engine.url, "--json").document
    assert measured["engine"] == engine.url
    assert measured["questions"] >= 8
    (listed,) = done("base", "list", "--json").document
    assert (listed["fingerprint"], listed["fingerprint_engine"]) == (True, engine.url)
    assert f"of {engine.url}" in done("base", "list").out
    refused = run("base", "fingerprint", "tiny", "--engine", "http://127.0.0.1:9")
    assert refused.status == 1
    assert "the engine at http://127.0.0.1:9 cannot be asked: " in refused.err
    kept = done("base", "fingerprint", "tiny", "--engine", "http://127.0.0.1:9", "--if-missing", "--json").document
    assert kept == measured


def test_an_engine_whose_tokens_are_not_the_bases_is_no_measure_of_it(run: Run, done: Run, base: Path) -> None:
    done("base", "register", "tiny", base)
    other = MockEngine(Options(model=str(base), max_loras=4, vocab_size=10 * VOCAB))
    run_async(other.start())
    try:
        refused = run("base", "fingerprint", "tiny", "--engine", other.url)
    finally:
        run_async(other.stop())
    assert refused.status == 1
    assert "these are not answers of base 'tiny'" in refused.err


@pytest.mark.parametrize("words", [[], ["/models/base", "--engine", "http://127.0.0.1:9"]])
def test_a_base_is_measured_here_or_there_and_not_both(run: Run, words: list[str]) -> None:
    refused = run("base", "fingerprint", "tiny", *words)
    assert refused.status == 1
    assert "give the model's folder, or --engine" in refused.err
