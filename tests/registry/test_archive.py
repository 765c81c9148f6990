"""Attempts in archives: nothing is lost, nothing is there twice, and whoever asks for them finds them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from alembic import command
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from registry.archive import reading
from registry.archive.archiving import STAYS_DAYS, Archiver, NotArchived
from registry.archive.reading import ArchiveUnreadable
from registry.archive.rows import LEAVING, UsageArchive
from registry.children.asked import ask_once
from registry.days import DAY_MS
from registry.db import now_ms
from registry.engine_costs.busy import BusyTime
from registry.engine_costs.loads import EngineLoad
from registry.errors import CorruptBlob, NotFound
from registry.experiments.rows import FEED
from registry.ledger.engine_readings import Reading
from registry.ledger.rows import USAGE, USAGE_DAYS, UsageCorrection
from registry.ledger.segments import RowsDigest, SegmentEntry
from registry.ledger.usage_record import TOKENS, values_of
from registry.names import SYSTEM
from registry.service import Registry
from registry.splits.rows import Split
from registry.storage.blobs import BlobStore
from tests.registry.conftest import Shop
from tests.registry.test_usage_days import drawn, figures
from tests.support.migrations import configured
from tests.support.usage_rows import usage_row

DAYS = 4
OLD = DAYS * DAY_MS
WRITERS = ("w-1", "other-2")


def closed(registry: Registry, rows: Sequence[dict[str, Any]]) -> None:
    """Give the ledger entries of the segments of these rows, as the shipper does when it has shipped them whole."""
    for writer in WRITERS:
        previous = ""
        of_writer = sorted({row["segment"] for row in rows if row["segment"] and f"-{writer}-" in row["segment"]})
        for number, segment in enumerate(of_writer, start=1):
            own = [row for row in rows if row["segment"] == segment]
            digest = RowsDigest()
            for row in own:
                digest.add(values_of(row))
            entry = SegmentEntry(
                segment=segment, writer=writer, sequence=number, records=2 * len(own), intents=len(own),
                attempts=len(own), **{name: sum(row[name] or 0 for row in own) for name in TOKENS}, digest=segment,
                previous_digest=previous, last=number == len(of_writer), faults=0, rows_digest=str(digest),
            )  # fmt: skip
            registry.ledger.close_segments([entry])
            previous = segment


def stocked(registry: Registry, days: int = DAYS) -> list[dict[str, Any]]:
    """Attempts of so many old days and corrections of some."""
    rows = [row for row in drawn(seed=1) if row["started_at_ms"] < days * DAY_MS]
    rows = [row | {"tenant": row["tenant"] if row["segment"] else SYSTEM} for row in rows]
    registry.ledger.record(rows)
    closed(registry, rows)
    for row in [row for row in rows if row["prompt_tokens"]][:20]:
        registry.ledger.correct(row["attempt_id"], "a test", "me", {"prompt_tokens": 1, "cost_nano": 3})
    assert registry.ledger.audit([]) == []
    return rows


def whole(registry: Registry) -> tuple[Any, ...]:
    """Everything in the ledger but the ids of corrections."""
    with registry.db.read() as session:
        corrections = select(*(c for c in UsageCorrection.__table__.c if c.name != "id"))
        return (
            sorted(map(tuple, session.execute(select(USAGE))), key=lambda row: row[0]),
            sorted(map(tuple, session.execute(corrections))),
            sorted(map(tuple, session.execute(select(USAGE_DAYS))), key=lambda row: row[:-2]),
        )


def left(registry: Registry) -> int:
    with registry.db.read() as session:
        return session.scalars(select(func.count()).select_from(USAGE)).one()


def test_any_window_comes_to_the_same_when_its_attempts_are_archived_and_when_they_are_back(registry: Registry) -> None:
    stocked(registry)
    before, draw = whole(registry), random.Random(6)
    windows = [(0, OLD), (DAY_MS, 2 * DAY_MS), *(sorted(draw.choices(range(OLD), k=2)) for _ in range(3))]
    found = [figures(registry, *window) for window in windows]
    some = list(registry.archives.archive(2 * DAY_MS))
    assert [figures(registry, *window) for window in windows] == found
    archived = [*some, *registry.archives.archive(OLD)]
    assert left(registry) == 0
    assert len(archived) == DAYS
    assert [figures(registry, *window) for window in windows] == found
    assert registry.ledger.audit([]) == []
    assert registry.archives.verify() == []
    assert [one.name for one in registry.archives.restore(archived)] == [one.name for one in archived]
    assert whole(registry) == before
    assert registry.ledger.audit([]) == []
    assert registry.archives.restore(registry.archives.all()) == [], "they are back already"
    assert whole(registry) == before
    assert registry.archives.attempts_before(OLD) == [], "what was brought back is left there for a while"


def test_a_file_has_no_more_attempts_than_it_may_and_each_is_of_one_day(registry: Registry) -> None:
    rows = stocked(registry)
    archiver = Archiver(registry.db, registry.blobs, most_rows=20)
    made = [info for day in archiver.days(OLD) for info in archiver.archive(day.day)]
    assert sum(one.attempts for one in made) == len(rows)
    assert max(one.attempts for one in made) == 20
    assert all(one.day * DAY_MS <= one.first_ms <= one.last_ms < (one.day + 1) * DAY_MS for one in made)
    assert registry.ledger.audit([]) == []
    assert registry.archives.verify() == []


@pytest.mark.starts_anew
def test_sums_are_made_anew_from_rows_and_archives(registry: Registry) -> None:
    stocked(registry)
    *_, sums = whole(registry)
    list(registry.archives.archive(2 * DAY_MS))
    with registry.db.write() as session:
        session.connection().execute(delete(USAGE_DAYS).where(USAGE_DAYS.c.day < 3))
    assert [problem[:10] for problem in registry.ledger.audit([])] == ["1970-01-01", "1970-01-02", "1970-01-03"]
    registry.ledger.sum_again()
    assert whole(registry)[2] == sums
    assert registry.ledger.audit([]) == []


def test_what_a_dead_gateway_brings_once_more_after_months_is_not_booked_again(registry: Registry) -> None:
    rows = stocked(registry)
    list(registry.archives.archive(OLD))
    before = whole(registry)
    assert registry.ledger.record([row for row in rows if row["segment"]]) == 0
    assert whole(registry) == before
    late = rows[0] | {"attempt_id": "late", "segment": "usage-w-2-000001"}
    assert registry.ledger.record([late]) == 1, "of a segment that nobody has seen"
    assert registry.archives.attempts_before(OLD) == [], "it stays until its segment is whole in the ledger"
    assert left(registry) == 1


def test_attempts_that_an_experiment_has_yet_to_read_stay(registry: Registry) -> None:
    rows = stocked(registry)
    with registry.db.write() as session:
        session.connection().execute(insert(FEED).values(experiment_id=1, attempt_id=rows[0]["attempt_id"]))
    made = list(registry.archives.archive(OLD))
    assert sum(one.attempts for one in made) == len(rows) - 1
    assert left(registry) == 1
    assert registry.ledger.audit([]) == []


def test_bringing_back_notes_nothing_for_experiments(shop: Shop) -> None:
    registry = shop.registry
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    split = shop.split({"1.0": 5_000, "1.1": 5_000})
    with registry.db.write() as session:
        session.connection().execute(update(Split).values(experiment_id=1))
    registry.ledger.record([usage_row("a", tenant=SYSTEM, split_id=split.id, arm="1.0", unit_hash="00" * 16)])
    with registry.db.write() as session:
        assert session.scalars(select(func.count()).select_from(FEED)).one() == 1
        session.connection().execute(delete(FEED))
    list(registry.archives.archive(OLD))
    assert len(registry.archives.restore(registry.archives.named("1970-01"))) == 1
    with registry.db.read() as session:
        assert session.scalars(select(func.count()).select_from(FEED)).one() == 0


def test_rows_and_records_of_archives_are_removed_by_nothing_else(registry: Registry) -> None:
    stocked(registry)
    for table in (USAGE, UsageCorrection):
        with pytest.raises(DBAPIError, match="append-only"), registry.db.write() as session:
            session.connection().execute(delete(table))
    list(registry.archives.archive(2 * DAY_MS))
    for statement in (delete(UsageArchive), update(UsageArchive).values(attempts=1), delete(USAGE)):
        with pytest.raises(DBAPIError, match="append-only"), registry.db.write() as session:
            session.connection().execute(statement)
    with registry.db.read() as session:
        assert session.scalars(select(func.count()).select_from(LEAVING)).one() == 0


class Forgetful(BlobStore):
    """Stores less than it gets."""

    def write(self, name: str, data: bytes) -> None:
        super().write(name, data[:-1])


def test_nothing_is_removed_that_the_storage_does_not_give_back(registry: Registry) -> None:
    stocked(registry)
    before = whole(registry)
    archiver = Archiver(registry.db, Forgetful(registry.blobs.url))
    with pytest.raises(NotArchived, match="gave back something else than ledger/usage/1970-01/1970-01-01-"):
        list(archiver.archive(0))
    assert whole(registry) == before
    assert registry.archives.all() == []


def test_nothing_is_removed_of_a_day_whose_sums_are_wrong(registry: Registry) -> None:
    stocked(registry)
    with registry.db.write() as session:
        session.execute(text("UPDATE usage_days SET prompt_tokens = prompt_tokens + 1 WHERE day = 1"))
    attempts = left(registry)
    with pytest.raises(NotArchived, match="1970-01-02: usage by day is not the sum of its attempts"):
        list(registry.archives.archive(OLD))
    assert left(registry) < attempts, "the day before it is archived"
    assert [one.date for one in registry.archives.all()] == ["1970-01-01"]
    assert registry.ledger.audit([])[0].startswith("1970-01-02: usage by day is not")


def test_a_damaged_file_is_named_and_sums_of_whole_days_need_it_not(registry: Registry) -> None:
    stocked(registry)
    noon = DAY_MS + DAY_MS // 2
    sums, edge = figures(registry, 0, OLD), figures(registry, noon, OLD)
    archived = list(registry.archives.archive(OLD))
    bad, gone = archived[1], archived[2]
    data = registry.blobs.read(bad.name)
    registry.blobs.write(bad.name, data[:200] + b"\x00" + data[201:])
    registry.blobs.remove([gone.name])
    assert [problem.partition(": ")[::2] for problem in registry.archives.verify()] == [
        ("attempts of 1970-01-02 cannot be opened", f"{bad.name} is damaged: it is not as it was when it was verified; "
         "put it back from a backup"),
        ("attempts of 1970-01-03 cannot be opened", f"{gone.name} is not in the object storage; put it back from a "
         "backup"),
    ]  # fmt: skip
    assert figures(registry, 0, OLD) == sums
    with pytest.raises(ArchiveUnreadable, match=r"of 1970-01-02 are archived, and cannot be read: ledger.*damaged"):
        figures(registry, noon, OLD)
    with pytest.raises(CorruptBlob, match="damaged"):
        registry.archives.restore([bad])
    registry.blobs.write(bad.name, data)
    assert figures(registry, noon, OLD) == edge


def test_a_record_that_does_not_fit_its_file_is_named(registry: Registry) -> None:
    stocked(registry)
    archived = list(registry.archives.archive(OLD))
    swapped = registry.blobs.read(archived[0].name)
    with registry.db.write() as session:
        for trigger in ("usage_archives_no_update", "usage_archives_append_only ON usage_archives"):
            if ("append" in trigger) == (registry.db.engine.dialect.name == "postgresql"):
                session.execute(text(f"DROP TRIGGER {trigger}"))
        session.execute(update(UsageArchive).where(UsageArchive.day == 1).values(digest=archived[0].digest))
    registry.blobs.write(archived[1].name, swapped)
    (problem,) = registry.archives.verify()
    assert problem.startswith(f"attempts of 1970-01-02 cannot be opened: {archived[1].name} has")


def test_reports_of_swaps_and_of_engines_count_archived_attempts_too(registry: Registry) -> None:
    rows = stocked(registry)
    engine = rows[0]["engine"]
    first, last = (Reading(engine, 0, at, at, 1, 1, 1) for at in (DAY_MS // 2, 3 * DAY_MS + 7_000))

    def counted() -> tuple[Any, ...]:
        booked = Counter[tuple[Any, ...]]()
        for one in registry.readings.booked(first, last):
            kind = one.system, one.source, one.lost, one.inside
            for name in ("attempts", "answers", "prompt_tokens", "reread_tokens", "completion_tokens"):
                booked[(*kind, name)] += getattr(one, name)
        return (
            booked,
            registry.ledger.per_second("acme/triage", DAY_MS // 2, 3 * DAY_MS + 7_000),
            registry.ledger.started_after("acme/triage@1.1", DAY_MS // 2, 3 * DAY_MS),
        )

    before = counted()
    list(registry.archives.archive(2 * DAY_MS))
    assert counted() == before
    list(registry.archives.archive(OLD))
    assert counted() == before


def test_who_corrects_an_archived_attempt_is_told_to_bring_it_back(registry: Registry) -> None:
    rows = stocked(registry)
    list(registry.archives.archive(OLD))
    attempt = next(row["attempt_id"] for row in rows if row["prompt_tokens"])
    with pytest.raises(NotFound, match="archived up to 1970-01-04: bring back its day with `switchyard ledger restore"):
        registry.ledger.correct(attempt, "a test", "me", {"prompt_tokens": 1})
    registry.archives.restore(registry.archives.all())
    registry.ledger.correct(attempt, "a test", "me", {"prompt_tokens": 1})
    assert registry.ledger.audit([]) == []


def test_a_day_that_was_brought_back_is_archived_again_when_it_has_been_there_for_long(registry: Registry) -> None:
    stocked(registry)
    made = list(registry.archives.archive(OLD))
    registry.archives.restore(made)
    registry.ledger.correct("attempt-1", "a test", "me", {"cost_nano": 5})
    with registry.db.write() as session:
        session.execute(update(UsageArchive).values(restored_at_ms=now_ms() - (STAYS_DAYS + 1) * DAY_MS))
    again = list(registry.archives.archive(OLD))
    assert len(again) == len(made)
    assert sum(one.name not in {of.name for of in made} for one in again) == 1, "the day that has another correction"
    assert left(registry) == 0
    assert registry.ledger.audit([]) == []
    assert registry.archives.verify() == []


def test_engines_were_as_busy_as_before_when_some_or_all_of_it_is_archived(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def ask(name: str, command: Sequence[str], question: bytes, **options: Any) -> bytes:
        asked.append(question)
        return ask_once(name, command, question, **options)

    monkeypatch.setattr(reading, "ask_once", ask)
    spans = [
        (0, 5_000),
        (1_000, 2_000),
        (4_000, 9_000),
        (9_000, 10_000),
        (20_000, 21_000),
        (DAY_MS - 500, DAY_MS + 900),
    ]
    more = [(DAY_MS - 500, DAY_MS + 900), (DAY_MS + 800, DAY_MS + 1_000), (DAY_MS + 5_000, DAY_MS + 6_000)]
    registry.ledger.record(
        usage_row(str(number), tenant=SYSTEM, engine_id="a", started_at_ms=begin_ms, finished_at_ms=end_ms)
        for number, (begin_ms, end_ms) in enumerate([*spans, *more])
    )
    model = usage_row("x")["served_model"]
    registry.engine_loads.add([EngineLoad("a", "acme", model, begin_ms, 21_200) for begin_ms in (20_000, 20_500)])
    windows = [(0, 3 * DAY_MS), (2_500, DAY_MS + 850)]
    before = [registry.engine_busy.between(*window) for window in windows]
    assert before[0] == {
        (0, "a"): BusyTime(10_000 + 1_000 + 500 + 200, load_ms=1_200),
        (1, "a"): BusyTime(1_000 + 1_000, carried_ms=800),
    }
    list(registry.archives.archive(DAY_MS))
    assert [registry.engine_busy.between(*window) for window in windows] == before
    list(registry.archives.archive(OLD))
    asked.clear()
    assert [registry.engine_busy.between(*window) for window in windows] == before
    assert len(asked) == len(windows), "of all days of a window at once"
    assert registry.engine_busy.close(3 * DAY_MS) == 3
    assert [registry.engine_busy.between(*window) for window in windows] == before


def test_migrations_that_make_sums_anew_keep_what_is_archived(registry: Registry) -> None:
    stocked(registry)
    *_, sums = whole(registry)
    list(registry.archives.archive(2 * DAY_MS))
    with registry.db.engine.execution_options(switchyard_write=True).begin() as connection:
        command.downgrade(configured(connection), "0040")
        assert connection.execute(text("SELECT sum(attempts) FROM usage_days")).scalar() == 300
    registry.db.migrate()
    assert whole(registry)[2] == sums
    assert registry.ledger.audit([]) == []
