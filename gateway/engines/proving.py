"""Does an engine apply an adapter that it has loaded? It is asked, and the effect's proof says what it must answer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path

from gateway.engines.effect import MIN_STRENGTH, strength
from gateway.engines.faults import AdapterRejected, CannotCompare, EngineFault, NotListed, ProbeRefused
from gateway.engines.kind import EngineControl
from gateway.engines.residency import Residency
from registry.adapters.effect_proof import Difference, Probe, read_proof


async def require_listed(control: EngineControl, name: str, folder: Path) -> None:
    """Raises `NotListed` when the engine does not list the name with that folder."""
    card = (await control.models()).get(name)
    if card is None or card.root != str(folder):
        raise NotListed("the engine says that it has loaded the adapter, and does not list it")


async def prove(
    control: EngineControl, residency: Residency, name: str, folder: Path, *, full_proof: bool
) -> float | None:
    """Listed under our name and folder; answers as itself; shows the effect that its proof promises.

    The strength of the effect, `None` for an adapter without a proof and on an engine that generates nothing, on which
    none is measured. Raises `EngineFault`.
    """
    await require_listed(control, name, folder)
    proof = await asyncio.to_thread(read_proof, folder)
    if (
        proof is None or proof.indistinguishable or not control.generates
    ):  # nothing to measure; whoever promoted the latter insisted
        await _require_answer(control, residency, name)
        return None
    return await _effect(control, _base_of(residency), name, proof.probes if full_proof else proof.probes[:1])


async def _require_answer(control: EngineControl, residency: Residency, name: str) -> None:
    try:
        right = await control.answers_as(name, salt=name)
    except ProbeRefused as error:
        await _require_base_answer(control, _base_of(residency))
        raise AdapterRejected(str(error)) from error
    if not right:
        raise EngineFault(f"the engine answers requests for {name} under another name")


async def _require_base_answer(control: EngineControl, base: str) -> None:
    """Raises `CannotCompare` when the base cannot answer either."""
    try:
        await control.answers_as(base, salt=secrets.token_hex(8))
    except ProbeRefused as error:
        raise CannotCompare(f"the base cannot answer either: {error}") from error


async def _effect(control: EngineControl, base: str, name: str, probes: Sequence[Probe]) -> float:
    asked = [difference for probe in probes for difference in probe.strongest()]

    async def served_minus_base(one: Difference) -> float:
        try:
            of_base = await control.next_token_logprob(base, one.prefix, one.token, salt=name)
        except ProbeRefused as error:
            raise CannotCompare(f"the base's half of its proof cannot be measured: {error}") from error
        try:
            return await control.next_token_logprob(name, one.prefix, one.token, salt=name) - of_base
        except ProbeRefused as error:
            raise AdapterRejected(f"{error}, and for the base it does") from error

    served = await asyncio.gather(*(served_minus_base(one) for one in asked))
    expected = [one.expected for one in asked]
    measured = strength(served, expected)
    if measured < MIN_STRENGTH:
        raise AdapterRejected(
            f"effect proof failed: the served adapter shows {measured:.2f} of the trained effect "
            f"(at least {MIN_STRENGTH} is needed); the engine does not apply these weights"
        )
    return measured


def _base_of(residency: Residency) -> str:
    if residency.base_name is None:
        raise EngineFault("the engine cannot serve its base model now, so nothing can be compared with it")
    return residency.base_name
