"""Effect proofs from elsewhere: bounded before they are parsed, at the publish and at every load."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.adapters.effect_proof import (
    EFFECT_PROOF_FILE,
    MAX_PROOF_BYTES,
    Probe,
    parse_proof,
    proof_bytes,
    read_proof,
)
from registry.errors import AdapterRefused
from tests.registry.conftest import Shop
from tests.support.adapter_folders import write_adapter

SOUND = (Probe((3, 5, 7, 11), (1, 3), (-2.0, -3.0), (-0.5, -3.0)),)
Change = Callable[[dict[str, Any]], object]


def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(proof_bytes(SOUND))
    return loaded


def probe(**changes: Any) -> Change:
    return lambda document: document["probes"][0].update(changes)


def top(**changes: Any) -> Change:
    return lambda document: document.update(changes)


HOSTILE: dict[str, Change] = {
    "a key more": top(comment="x"),
    "a key more in a probe": probe(note=[]),
    "no noise": lambda document: document.pop("noise"),
    "no noise at all": top(noise=0),
    "a noise below nothing": top(noise=-1.0),
    "a noise that hides any effect": top(noise=1e9),
    "a noise in words": top(noise="0.02"),
    "a noise that is true": top(noise=True),
    "another format": top(format=2),
    "no probes": top(probes=[]),
    "probes by name": top(probes={"a": 1}),
    "seventeen probes": top(probes=document()["probes"] * 17),
    "a probe that is a number": top(probes=[1]),
    "tokens as text": probe(token_ids="3578"),
    "a token in words": probe(token_ids=["3", "5", "7", "11"]),
    "a broken token": probe(token_ids=[3, 5.5, 7, 11]),
    "a negative token": probe(token_ids=[3, -5, 7, 11]),
    "a token that is true": probe(token_ids=[3, True, 7, 11]),
    "a huge token": probe(token_ids=[3, 2**40, 7, 11]),
    "too many tokens": probe(token_ids=[1] * 257),
    "positions out of reach": probe(positions=[1, 4]),
    "position nought": probe(positions=[0, 3]),
    "ten thousand positions": probe(
        positions=[1] * 10_000, base_logprobs=[0] * 10_000, adapter_logprobs=[0] * 10_000
    ),
    "lists of different lengths": probe(base_logprobs=[-1.0]),
    "a log-probability in words": probe(base_logprobs=["-1", "-2"]),
    "a huge log-probability": probe(base_logprobs=[-1e300, -2]),
    "a log-probability that is nothing": probe(adapter_logprobs=[None, -2]),
}  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_proof_that_an_engine_could_not_be_asked_is_refused_by_name(change: Change) -> None:
    changed = document()
    change(changed)
    with pytest.raises(AdapterRefused) as refused:
        parse_proof(json.dumps(changed).encode())
    (finding,) = refused.value.findings
    assert (finding.code, finding.file) == ("effect_proof_unreadable", EFFECT_PROOF_FILE)
    assert len(str(finding)) < 300


@pytest.mark.parametrize("text", ["[" * 100_000, '{"noise": 1e400}', "NaN", '{"a": 1, "a": 1}', "\ufeff{}", "", "null"])
def test_what_is_no_json_is_refused_by_the_same_name(text: str) -> None:
    with pytest.raises(AdapterRefused, match="effect_proof_unreadable"):
        parse_proof(text.encode())


def test_the_largest_proof_of_the_trainer_is_within_the_bounds() -> None:
    largest = Probe(tuple([149_999] * 256), tuple(range(1, 256)), tuple([-20.16356] * 255), tuple([-7.34029] * 255))
    data = proof_bytes([largest] * 16)
    assert len(data) < MAX_PROOF_BYTES / 2
    assert len(parse_proof(data).probes) == 16


def test_a_proof_of_sixty_megabytes_is_refused_unparsed_at_the_publish_and_at_a_load(
    shop: Shop, tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "large")
    with (folder / EFFECT_PROOF_FILE).open("wb") as file:
        file.write(proof_bytes(SOUND))
        file.truncate(61 * 2**20)
    with pytest.raises(AdapterRefused, match=f"expected at most {MAX_PROOF_BYTES} bytes"):
        shop.registry.adapters.publish(tenant="acme", adapter="large", folder=folder, base="tiny", lineage={})
    with pytest.raises(AdapterRefused, match=f"more than {MAX_PROOF_BYTES} bytes"):  # as a gateway does at a load
        read_proof(folder)


def test_a_proof_with_flipped_bits_is_read_or_refused_and_nothing_else() -> None:
    whole = proof_bytes(SOUND)
    dice = random.Random(5)
    refused = 0
    for _ in range(2_000):
        broken = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            broken[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        try:
            parse_proof(bytes(broken))
        except AdapterRefused:
            refused += 1
    assert 1_000 < refused < 2_000
