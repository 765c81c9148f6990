"""The lease of the fleet's controller: one holder at a time, and no way back for one whose time is over."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from registry.errors import Conflict
from registry.fleet.leadership import TTL_MS, Lease, check_fence
from registry.fleet.rows import ControllerLease
from registry.names import parse_ref
from registry.service import Registry
from tests.registry.conftest import Shop
from tests.support.program import running
from tests.support.waiting import DEADLINE_S

CANDIDATE = """
import sys
from pathlib import Path
from registry.service import Registry
from registry.settings import RegistrySettings

with Registry.open(RegistrySettings(state_dir=Path(sys.argv[1]))) as registry:
    print("ready", flush=True)
    sys.stdin.readline()
    lease = registry.leadership.acquire(sys.argv[2], "unix:/x")
    print(lease.expires_at_ms if lease else "none", flush=True)
"""
STEPS: dict[str, Callable[[Registry, int, int], object]] = {
    "flip": lambda registry, swap, token: registry.swaps.flip(swap, fence=token),
    "advance": lambda registry, swap, token: registry.swaps.advance(swap, "preloading", fence=token, note="late"),
    "fail": lambda registry, swap, token: registry.swaps.advance(swap, "failed", fence=token, error="late"),
}


def take(registry: Registry, holder: str) -> Lease:
    lease = registry.leadership.acquire(holder, f"unix:/{holder}")
    assert lease is not None
    return lease


def lapse(registry: Registry) -> None:
    """As if the holder had been paused for a term's length, without the wait."""
    with registry.db.write() as session:
        session.execute(update(ControllerLease).values(expires_at_ms=ControllerLease.expires_at_ms - TTL_MS - 1))


def test_a_lease_whose_holder_died_before_the_clock_was_put_back_is_over_after_a_terms_length(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = take(registry, "dead")
    an_hour_ago = lease.expires_at_ms - 3_600_000
    steady_s = [100.0]
    monkeypatch.setattr("registry.fleet.leadership.now_ms", lambda: an_hour_ago)
    monkeypatch.setattr("registry.fleet.leadership.time", SimpleNamespace(monotonic=lambda: steady_s[0]))
    assert registry.leadership.acquire("next", "unix:/next") is None
    steady_s[0] += TTL_MS / 1000
    assert registry.leadership.acquire("next", "unix:/next") is None, "it may have been renewed a moment ago"
    steady_s[0] += 0.1
    assert take(registry, "next").token == lease.token + 1


def test_a_holder_that_renews_after_the_clock_was_put_back_keeps_its_term(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, steady_s = take(registry, "alive"), [100.0]
    an_hour_ago = lease.expires_at_ms - 3_600_000
    monkeypatch.setattr("registry.fleet.leadership.now_ms", lambda: an_hour_ago + int(steady_s[0] * 1000))
    monkeypatch.setattr("registry.fleet.leadership.time", SimpleNamespace(monotonic=lambda: steady_s[0]))
    for _ in range(5):
        assert registry.leadership.acquire("next", "unix:/next") is None
        steady_s[0] += 1.0
        lease = registry.leadership.renew(lease)


def test_a_lease_that_is_held_is_nobody_elses(registry: Registry) -> None:
    lease = take(registry, "one")
    assert registry.leadership.acquire("two", "unix:/two") is None
    assert registry.leadership.acquire("one", "unix:/one") is None, "not even its holder begins a second term in it"
    assert registry.leadership.current() == lease
    assert (lease.holder, lease.address) == ("one", "unix:/one")


def test_nobody_leads_before_the_first_and_after_the_last(registry: Registry) -> None:
    assert registry.leadership.current() is None
    take(registry, "one")
    registry.leadership.release("one")
    assert registry.leadership.current() is None


def test_every_term_has_a_higher_token_than_any_before(registry: Registry) -> None:
    tokens = []
    for holder in ("one", "two", "one", "one"):
        tokens.append(take(registry, holder).token)
        registry.leadership.release(holder)
    assert tokens == sorted(set(tokens))


def test_a_lease_that_lapsed_can_be_taken(registry: Registry) -> None:
    before = take(registry, "one")
    lapse(registry)
    assert registry.leadership.current() is None
    assert take(registry, "two").token > before.token


def test_renewing_keeps_the_token_and_moves_the_end(registry: Registry) -> None:
    lease = take(registry, "one")
    with registry.db.write() as session:
        session.execute(update(ControllerLease).values(expires_at_ms=ControllerLease.expires_at_ms - 1000))
    renewed = registry.leadership.renew(lease)
    assert renewed.token == lease.token
    assert renewed.expires_at_ms >= lease.expires_at_ms


def test_a_holder_that_was_paused_may_go_on_while_nobody_has_taken_over(registry: Registry) -> None:
    lease = take(registry, "one")
    lapse(registry)
    assert registry.leadership.renew(lease).token == lease.token
    assert registry.leadership.acquire("two", "unix:/two") is None


def test_a_holder_that_was_succeeded_cannot_renew(registry: Registry) -> None:
    lease = take(registry, "one")
    lapse(registry)
    successor = take(registry, "two")
    with pytest.raises(Conflict, match=f"term {lease.token} was succeeded by term {successor.token}"):
        registry.leadership.renew(lease)
    assert registry.leadership.current() == successor


@pytest.mark.parametrize("step", list(STEPS))
def test_a_holder_that_was_succeeded_changes_no_swap(shop: Shop, step: str) -> None:
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    swap = shop.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="someone")
    paused = take(shop.registry, "one")
    lapse(shop.registry)
    successor = take(shop.registry, "two")
    revision = shop.registry.db.catalog_revision()

    with pytest.raises(Conflict):
        STEPS[step](shop.registry, swap.id, paused.token)

    assert shop.registry.swaps.get(swap.id) == swap
    assert shop.registry.db.catalog_revision() == revision
    assert str(shop.registry.adapters.get(parse_ref("acme/triage")).version) == "1.0"
    STEPS[step](shop.registry, swap.id, successor.token)  # for the one in office the same step is open


def test_a_holder_that_was_released_is_fenced_before_anybody_follows(shop: Shop) -> None:
    shop.versions(1)
    swap = shop.registry.swaps.request(parse_ref("acme/triage@1.0"), actor="someone")
    lease = take(shop.registry, "one")
    shop.registry.leadership.release("one")
    with pytest.raises(Conflict):
        shop.registry.leadership.renew(lease)
    with pytest.raises(Conflict):
        shop.registry.swaps.flip(swap.id, fence=lease.token)


def test_whoever_knows_that_a_holder_is_dead_may_release_its_lease(registry: Registry) -> None:
    before = take(registry, "one")
    with Registry.open(registry.settings) as parent:
        parent.leadership.release("one")
    assert take(registry, "two").token == before.token + 1


def test_releasing_somebody_elses_lease_changes_nothing(registry: Registry) -> None:
    lease = take(registry, "two")
    registry.leadership.release("one")
    assert registry.leadership.current() == lease


def test_of_many_candidates_at_once_one_wins(registry: Registry) -> None:
    for _ in range(5):
        with ThreadPoolExecutor(8) as candidates:
            won = list(candidates.map(lambda n: registry.leadership.acquire(f"c-{n}", "unix:/x"), range(8)))
        (lease,) = [lease for lease in won if lease is not None]
        assert registry.leadership.current() == lease
        registry.leadership.release(lease.holder)


def test_terms_of_candidates_in_several_processes_do_not_overlap(registry: Registry, state_dir: Path) -> None:
    processes = [
        subprocess.Popen(
            running(CANDIDATE, str(state_dir), f"process-{number}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=DEADLINE_S)[0].strip() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    ends = sorted(int(answer) for answer in answers if answer != "none")
    assert ends, "one of them leads"
    assert all(later - earlier >= TTL_MS for earlier, later in pairwise(ends)), "one at a time, however slow the others"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_term_is_renewed_while_somebody_writes_for_it_and_succeeded_only_then(shop: Shop) -> None:
    registry = shop.registry  # SQLite has one writer at a time
    lease = registry.leadership.acquire("first", "here")
    assert lease is not None
    with ThreadPoolExecutor(1) as pool:
        with registry.db.write() as session:
            check_fence(session, lease.token)
            lease = registry.leadership.renew(lease)  # it would wait for ever for this transaction
            with registry.db.engine.begin() as late:
                late.execute(update(ControllerLease).values(expires_at_ms=1))
            successor = pool.submit(registry.leadership.acquire, "second", "there")
            with pytest.raises(TimeoutError):
                successor.result(0.3)
        found = successor.result(DEADLINE_S)
    assert found is not None
    assert found.token == lease.token + 1
