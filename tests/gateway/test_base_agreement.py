"""The base that an engine serves, compared with the one that was measured."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.engines.faults import ProbeRefused, Unreachable
from gateway.engines.fingerprint import MAX_DISAGREEMENT_NATS, base_agreement
from gateway.engines.vllm.control import VllmControl
from loadtest.testing import run_mock_engine
from registry.bases.fingerprint import Fingerprint, FingerprintProbe

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
