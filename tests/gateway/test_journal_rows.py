"""What the journal says of an attempt becomes its row; so does what earlier versions said."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from gateway.journal.journal import Journal
from gateway.journal.rows import begun, ended, kind_of, lost, row_of
from gateway.journal.shipper import Shipper
from gateway.journal.verify import verify
from registry.ledger.store import Ledger
from registry.ledger.usage_record import COLUMNS, UsageEnd, UsageKind
from tests.support.journal_parts import outcomes

NAME = "usage-w-18ec5debbaf58053-000001.log"
BEFORE_THE_IDS = (
    'd810469d 0 H w-18ec5debbaf58053 {"format":2,"sequence":1}\n'
    '03eb3784 1 K 465ec12bd772cbb8 {"tenant":"acme","key_id":"key-1","requested_model":"tiny","served_model":"'
    'tiny","version_digest":null,"split_id":null,"arm":null,"unit_source":null,"endpoint":"chat","n":null,"bou'
    'nded_by_us":null,"engine":"http://127.0.0.1:8001"}\n'
    "90c009ec 2 I r1-0 465ec12bd772cbb8 [1000]\n"
    'b897538a 3 S r1-0 465ec12bd772cbb8 [1000,2000,"ok",10,4,5,"engine",18000,12.5]\n'
    'c9be50e0 4 K a83160e69a437dfb {"tenant":"acme","key_id":"key-1","requested_model":"triage","served_model"'
    ':"acme/triage@1.1","version_digest":"sha256:0f","split_id":3,"arm":"1.1","unit_source":"header","endpoint'
    '":"completions","n":2,"bounded_by_us":true,"engine":"http://127.0.0.1:8001"}\n'
    "bbe93590 5 I r2-0 a83160e69a437dfb [1500]\n"
    'bb7d8620 6 S r2-0 a83160e69a437dfb [1500,1600,"client_aborted",7,null,2,"partial",9,null]\n'
    "47a9eb4f 7 I r3-0 a83160e69a437dfb [1700]\n"
)
"""A killed worker's segment, byte for byte as it was written before rows had ids of adapter, version and engine."""
COMMON = UsageKind(
    "acme", "key-1", "triage", "acme/triage@1.1", "chat", "http://e", "gpu-1", 3, 7, "sha256:0", 2, "1.1", 0.1,
    "header", 1, False, False,
)  # fmt: skip
END = UsageEnd(1_000, 2_000, "ok", 10, 4, 5, "engine", 18_000, 12.5, "0f" * 16)


def test_a_row_is_what_was_known_before_the_attempt_and_what_is_known_at_its_end() -> None:
    row = row_of(b"r1-0", kind_of(COMMON), ended(END), "usage-w-000001")
    assert [*row] == ["r1-0", "r1", COMMON, END, "usage-w-000001"]
    named = dict(zip((column.name for column in COLUMNS), row.values(), strict=True))
    assert named == {
        "attempt_id": "r1-0", "request_id": "r1", **COMMON._asdict(), **END._asdict(), "segment": "usage-w-000001",
    }  # fmt: skip


def test_what_a_later_version_says_behind_an_attempts_end_is_left_out() -> None:
    assert row_of(b"r1-0", kind_of(COMMON), ended(END)[:-1] + b',"more"]').end == END


@pytest.mark.parametrize("unit_hash", [None, "0f" * 16])
def test_an_attempt_that_is_lost_keeps_when_it_began_and_its_unit(unit_hash: str | None) -> None:
    row = row_of(b"r1-0", kind_of(COMMON), lost(begun(1_000, unit_hash)))
    assert row.end == UsageEnd(1_000, outcome="lost", unit_hash=unit_hash)


def test_kinds_are_apart_in_every_field() -> None:
    fields = COMMON._asdict()
    others = [UsageKind(**{**fields, name: None}) for name in fields]
    assert len({kind_of(one).name for one in (COMMON, *others)}) == len(others) + 1


def test_a_journal_that_an_earlier_version_left_is_read_whole(tmp_path: Path, ledger: Ledger) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder, "new")
    (folder / NAME).write_text(BEFORE_THE_IDS)
    shipper = Shipper(journal, ledger)
    assert shipper.recover() == 1
    assert shipper.catch_up(60)
    assert outcomes(ledger) == {"r1-0": ("ok", 5), "r2-0": ("client_aborted", 2), "r3-0": ("lost", None)}
    rows = {row["attempt_id"]: row for row in ledger.recent(10)}
    declared = {name: value for line in BEFORE_THE_IDS.splitlines() if " K " in line for name, value in _fields(line)}
    assert {name: rows["r2-0"][name] for name in declared} == declared
    assert {rows["r2-0"][name] for name in ("adapter_id", "version_id", "engine_id", "propensity", "unit_hash")} == {
        None
    }
    assert (rows["r1-0"]["cost_nano"], rows["r1-0"]["ttft_ms"]) == (18_000, 12.5)
    assert verify(folder, ledger).problems == ()
    assert ledger.recent(1)[0]["segment"] == NAME.removesuffix(".log")
    journal.close()


def _fields(line: str) -> list[tuple[str, object]]:
    return list(orjson.loads(line.split(" ", 4)[4]).items())
