"""Old attempts are archived once a day by the leader, in a process of its own, where the setting is on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.fleet.duties.archive import ArchiveUsage
from gateway.fleet.duties.aside import AsideFailed
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.days import DAY_MS
from registry.db import now_ms
from registry.names import SYSTEM
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.migrated import migrated
from tests.support.usage_rows import usage_row

RECONCILES, OTHER = Round(reconciles=True, woken=False), Round(reconciles=False, woken=True)


@pytest.mark.starts_anew
async def test_what_is_older_than_the_setting_is_archived_once_a_day(tmp_path: Path) -> None:
    settings = RegistrySettings(state_dir=migrated(tmp_path), archive_usage_after_days=40)
    with Registry.open(settings) as registry:
        old_ms, young_ms = (now_ms() - days * DAY_MS for days in (42, 39))
        registry.ledger.record([usage_row("old", tenant=SYSTEM, started_at_ms=old_ms)])
        registry.ledger.record([usage_row("young", tenant=SYSTEM, started_at_ms=young_ms)])
        duty = ArchiveUsage(registry, Errands())
        assert [duty.is_due(RECONCILES), duty.is_due(OTHER)] == [True, False]
        await duty.archive()
        assert [one.attempts for one in registry.archives.all()] == [1]
        assert [row["attempt_id"] for row in registry.ledger.recent(9, SYSTEM)] == ["young"]
        assert not duty.is_due(RECONCILES), "it is done for today"


async def test_what_went_wrong_is_said_and_it_is_tried_again(tmp_path: Path) -> None:
    settings = RegistrySettings(state_dir=migrated(tmp_path), archive_usage_after_days=40)
    with Registry.open(settings) as registry:
        registry.ledger.record([usage_row("old", tenant=SYSTEM)])
        registry.blobs.write("ledger", b"in the way")
        duty = ArchiveUsage(registry, Errands())
        with pytest.raises(AsideFailed, match="the object storage failed"):
            await duty.archive()
        assert duty.is_due(RECONCILES)
        assert [row["attempt_id"] for row in registry.ledger.recent(9, SYSTEM)] == ["old"]


async def test_without_the_setting_nothing_is_archived(tmp_path: Path) -> None:
    with Registry.open(RegistrySettings(state_dir=migrated(tmp_path))) as registry:
        assert not ArchiveUsage(registry, Errands()).is_due(RECONCILES)
