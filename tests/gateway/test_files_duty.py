"""The leader removes what nobody needs of tenants' files, beside its rounds."""

from __future__ import annotations

import os
import time

import pytest

from gateway.fleet.duties.files import SweepFiles
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.tenant_files.parts import Bounds
from registry.tenant_files.sweeping import TORN_AFTER_S
from tests.support.stack import House
from tests.support.waiting import wait_until_async

ROUND = Round(reconciles=True, woken=False)


async def test_what_was_left_half_way_is_removed(house: House) -> None:
    files, folder = house.registry.files, house.settings.state_dir / "blobs" / "tenant-files"
    draft = files.begin("acme", Bounds(within_s=0))
    draft.write(b"x" * (5 << 20))
    kept = files.create("acme", "a.jsonl", "fine-tune", [b"kept"])
    torn, fresh = (next(folder.glob("*/*")).with_name(f"part_0-0#{number}") for number in (1, 2))
    for path in (torn, fresh):
        path.write_bytes(b"half")
    long_ago = time.time() - TORN_AFTER_S - 1
    os.utime(torn, (long_ago, long_ago))
    await SweepFiles(house.registry, Errands()).sweep()
    left = [path.name for path in folder.glob("*/*")]
    assert len(left) == 2
    assert fresh.name in left
    assert b"".join(files.content("acme", kept.id)) == b"kept"


async def test_it_sweeps_once_in_a_while_and_says_what_fails(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def sweep(most: int) -> int:
        calls.append(most)
        if len(calls) == 2:
            raise OSError("the storage is away")
        return 0

    monkeypatch.setattr(house.registry.files.sweeping, "sweep", sweep)
    monkeypatch.setattr("gateway.fleet.duties.files.SWEEP_S", 0.0)
    errands = Errands()
    duty = SweepFiles(house.registry, errands)
    for _ in range(2):
        await duty.do(ROUND)
        await wait_until_async("the sweep to end", lambda: not errands.tasks())
    with pytest.raises(OSError, match="the storage is away"):
        await duty.do(ROUND)
    assert len(calls) == 2
