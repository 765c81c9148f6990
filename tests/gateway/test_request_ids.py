"""What a request is called cannot be foretold from what others are called."""

from __future__ import annotations

import os
import time

import pytest

from gateway.api.request_ids import BUFFERED_IDS, Ids, new_id


def test_ids_begin_with_the_time_and_go_on_with_the_kernels_random_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bytes] = []
    kernel = os.urandom

    def urandom(size: int) -> bytes:
        given.append(kernel(size))
        return given[-1]

    monkeypatch.setattr(os, "urandom", urandom)
    ids = Ids()
    before_ms = time.time_ns() // 1_000_000
    made = [ids.next() for _ in range(2 * BUFFERED_IDS)]
    assert len(given) == 2, "one call of the system for many"
    assert "".join(one[12:] for one in made) == b"".join(given).hex()
    assert all(before_ms <= int(one[:12], 16) <= time.time_ns() // 1_000_000 for one in made)


def test_ids_are_all_different_and_of_one_length() -> None:
    made = {new_id() for _ in range(5 * BUFFERED_IDS)}
    assert len(made) == 5 * BUFFERED_IDS
    assert {len(one) for one in made} == {32}
