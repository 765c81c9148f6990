"""Shadows and their pairs: with consent alone, within what they may use, texts sealed and as long as tenants say."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from registry.days import DAY_MS
from registry.db import now_ms
from registry.errors import Conflict, InvalidInput, NotFound
from registry.experiments.infos import Decision
from registry.experiments.plan import Plan
from registry.names import AdapterRef, VersionNumber, parse_ref
from registry.responses.sealing import ENCRYPTED, Keyring
from registry.shadows.ending import NO_CONSENT
from registry.shadows.following import follow_experiments
from registry.shadows.pair_store import FIGURES_DAYS, Allowance, ShadowPairs, VerdictInfo
from registry.shadows.pairs import AnswerFigures, AnswerText, Content, CopiedPair, Diff
from registry.shadows.rows import ShadowPair
from registry.shadows.store import TIME_IS_OVER, ShadowInfo
from registry.shadows.terms import Terms
from registry.swaps.following import follow
from tests.registry.conftest import Shop
from tests.support.waiting import wait_until

CANDIDATE = AdapterRef("acme", "triage", VersionNumber(1, 1), None)
TERMS = Terms(share=1_000, lasts_ms=3_600_000, requests_per_day=10)
PLENTY = Allowance(days=7, pairs=1_000, bytes=1 << 20)
KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    """Two versions, the first in production, and the tenant's consent."""
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    shop.registry.tenants.change("acme", {"shadow_consent": True})
    return shop


def begun(shop: Shop, **terms: Any) -> ShadowInfo:
    return shop.registry.shadows.begin(CANDIDATE, replace(TERMS, **terms), actor="ann")


def side(model: str, **figures: Any) -> AnswerFigures:
    return AnswerFigures(model, "ok", "http://127.0.0.1:1", 0, completion_tokens=4, **figures)


def pair(shadow: ShadowInfo, number: int, **changes: Any) -> CopiedPair:
    said = Content({"messages": [{"role": "user", "content": "Hi"}]}, AnswerText("yes"), AnswerText("no", ("look()",)))
    whole = CopiedPair(
        shadow.id,
        f"r{number:04}",
        "acme",
        now_ms(),
        "chat",
        None,
        side("acme/triage@1.0"),
        side("acme/triage@1.1", cost_nano=5),
        Diff(exact=False, same_words=False, similarity=0.0, length_ratio=1.0),
        said,
    )
    return replace(whole, **changes)


def test_nothing_is_copied_of_a_tenant_that_has_not_consented(stocked: Shop) -> None:
    stocked.registry.tenants.change("acme", {"shadow_consent": False})
    with pytest.raises(InvalidInput, match="tenants set acme --shadow-consent"):
        begun(stocked)
    assert stocked.registry.shadows.page(None, None, None) == []


def test_gateways_learn_of_a_shadow_and_of_its_end_and_of_consent(stocked: Shop) -> None:
    registry = stocked.registry
    secret_of = registry.tenants.create_key("acme")
    shadow = begun(stocked)
    entry = registry.catalog().adapters["acme", "triage"].shadows["production"]
    assert (entry.id, entry.version.name, entry.share) == (shadow.id, "acme/triage@1.1", 1_000)
    assert [version.name for version in registry.catalog().shadowed.values()] == ["acme/triage@1.1"]
    assert [version.name for version in registry.catalog().wanted_versions()] == ["acme/triage@1.0"]
    assert [key.shadow_consent for key in registry.catalog().keys.values() if key.key_id == secret_of.id] == [True]
    ended = registry.shadows.end(shadow.id, why="seen enough", actor="ann")
    assert (ended.ended_why, registry.shadows.end(shadow.id, why="again").ended_why) == ("seen enough", "seen enough")
    assert not registry.catalog().adapters["acme", "triage"].shadows
    assert not registry.catalog().shadowed
    registry.tenants.change("acme", {"shadow_consent": False})
    assert [key.shadow_consent for key in registry.catalog().keys.values() if key.key_id == secret_of.id] == [False]


def test_one_shadow_runs_for_an_alias_at_a_time(stocked: Shop) -> None:
    shadow = begun(stocked)
    with pytest.raises(Conflict, match="shadow-stop"):
        begun(stocked)
    stocked.registry.shadows.end(shadow.id, why="done")
    assert begun(stocked).id > shadow.id


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"share": 0}, "share is 0;"),
        ({"share": 10_001}, "share is 1.0001"),
        ({"lasts_ms": 0}, "for is 0 s"),
        ({"lasts_ms": 31 * DAY_MS}, "30 days at most"),
        ({"requests_per_day": 0}, "requests_per_day is 0"),
        ({"budget_nano": 0}, "budget is 0"),
        ({"budget_nano": 1}, "tariff add adapter:acme/triage"),
    ],
)
def test_terms_that_cannot_be_are_refused_with_what_helps(stocked: Shop, terms: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        begun(stocked, **terms)


def test_a_candidate_that_cannot_be_compared_is_refused(stocked: Shop) -> None:
    registry = stocked.registry
    other = stocked.publish(5, base="other").version
    with pytest.raises(InvalidInput, match="of another base"):
        registry.shadows.begin(parse_ref(other.name), TERMS, actor="ann")
    with pytest.raises(NotFound, match="no alias 'canary'"):
        registry.shadows.begin(CANDIDATE, TERMS, alias="canary", actor="ann")
    registry.adapters.quarantine(registry.adapters.get(CANDIDATE).id, "it is broken")
    with pytest.raises(InvalidInput, match="quarantined"):
        begun(stocked)


def test_no_more_copies_are_allowed_a_day_than_the_shadow_has_and_none_when_its_dollars_are_spent(
    stocked: Shop,
) -> None:
    registry = stocked.registry
    registry.tariffs.add("adapter:acme/triage", input_dollars="1", output_dollars="2", source="list")
    shadow = begun(stocked, budget_nano=12)
    assert [registry.shadows.take(shadow.id, 4).number for _ in range(4)] == [4, 4, 2, 0]
    assert registry.shadows.take(shadow.id, 4).why == "requests_per_day"
    registry.shadows.give_back(shadow.id, 3, now_ms())
    assert registry.shadows.take(shadow.id, 4).number == 3
    registry.pairs.record([pair(shadow, number) for number in range(3)], {}, PLENTY)
    registry.shadows.give_back(shadow.id, 3, now_ms())
    assert registry.shadows.take(shadow.id, 1).why == "budget"
    told = registry.shadows.get(shadow.id)
    assert (told.spent_nano, told.ended_why, told.sent_today) == (15, "its budget of $0.000000012 is spent", 7)
    assert registry.shadows.take(shadow.id, 1).why == "ended"


def test_a_shadow_whose_time_is_over_ends(stocked: Shop) -> None:
    shadow = begun(stocked, lasts_ms=1)
    registry = stocked.registry
    wait_until("its time is over", lambda: now_ms() >= shadow.until_ms)
    assert registry.shadows.take(shadow.id, 1).why == "ended"
    assert [registry.shadows.end_due(), registry.shadows.end_due()] == [1, 0]
    assert registry.shadows.get(shadow.id).ended_why == TIME_IS_OVER
    other = begun(stocked)
    assert registry.shadows.end_due() == 0
    registry.tenants.change("acme", {"shadow_consent": False})
    assert registry.shadows.get(other.id).ended_why == NO_CONSENT


def test_every_request_that_was_to_be_copied_is_counted_once_as_a_pair_or_with_a_cause(stocked: Shop) -> None:
    registry, shadow = stocked.registry, begun(stocked)
    broken = pair(shadow, 2, cause="engine_failed", diff=None, content=None)
    registry.pairs.record([pair(shadow, 1), broken], {(shadow.id, "tenants_wait"): 3, (99, "tenants_wait"): 1}, PLENTY)
    registry.pairs.record([pair(shadow, 3)], {(shadow.id, "tenants_wait"): 2}, PLENTY)
    told = registry.shadows.get(shadow.id)
    assert told.counts == {"engine_failed": 1, "paired": 2, "tenants_wait": 5}
    assert (told.paired, told.orphans) == (2, 6)
    assert [one.request_id for one in registry.pairs.page(shadow.id, None, 10, whole=True)] == ["r0001", "r0003"]
    assert [one.request_id for one in registry.pairs.all(shadow.id)] == ["r0001", "r0002", "r0003"]


def test_texts_are_sealed_and_open_for_their_own_place_alone(stocked: Shop) -> None:
    registry, shadow = stocked.registry, begun(stocked)
    sealed = ShadowPairs(registry.db, Keyring(KEY))
    sealed.record([pair(shadow, 1)], {}, PLENTY)
    with registry.db.read() as session:
        stored = session.scalars(select(ShadowPair.content)).one()
    assert stored is not None
    assert stored[0] & ENCRYPTED
    assert sealed.get(shadow.id, "r0001") is not None
    found = sealed.get(shadow.id, "r0001")
    assert found is not None
    assert found.content == pair(shadow, 1).content
    registry.pairs.record([pair(shadow, 2)], {}, PLENTY)
    both = ShadowPairs(registry.db, Keyring(f"{KEY},plain"))
    assert [both.reseal(), both.reseal()] == [1, 0]
    again = sealed.get(shadow.id, "r0002")
    assert again is not None
    assert again.content == pair(shadow, 2).content


@pytest.mark.parametrize(
    ("settings", "allowance"),
    [
        ({"pair_days": 0}, PLENTY),
        ({"response_days": 0}, PLENTY),
        ({}, replace(PLENTY, days=0)),
        ({}, replace(PLENTY, bytes=10)),
        ({"shadow_consent": False}, PLENTY),
    ],
)
def test_figures_alone_are_kept_where_the_tenant_or_its_quota_says_so(
    stocked: Shop, settings: Any, allowance: Allowance
) -> None:
    registry, shadow = stocked.registry, begun(stocked)
    if settings:
        registry.tenants.change("acme", settings)
    registry.pairs.record([pair(shadow, 1)], {}, allowance)
    found = registry.pairs.get(shadow.id, "r0001")
    assert found is not None
    assert (found.content, found.diff["similarity"]) == (None, 0.0)


def test_pairs_that_find_no_room_are_counted_and_nothing_else(stocked: Shop) -> None:
    registry, shadow = stocked.registry, begun(stocked)
    for number in range(3):
        registry.pairs.record([pair(shadow, number)], {}, replace(PLENTY, pairs=2))
    assert (len([*registry.pairs.all(shadow.id)]), registry.shadows.get(shadow.id).paired) == (2, 3)


def test_texts_go_with_age_and_with_consent_and_figures_much_later(stocked: Shop) -> None:
    registry, shadow = stocked.registry, begun(stocked)
    for number, days in enumerate((0, 3, FIGURES_DAYS + 1)):
        registry.pairs.record([pair(shadow, number, at_ms=now_ms() - days * DAY_MS)], {}, PLENTY)
    registry.tenants.change("acme", {"pair_days": 2})
    assert registry.pairs.expire(7, most_batches=10) == 3
    kept = registry.pairs.page(shadow.id, None, 10, with_content=True)
    assert [(one.request_id, one.content is not None) for one in kept] == [("r0000", True), ("r0001", False)]
    registry.tenants.change("acme", {"shadow_consent": False})
    hidden = registry.pairs.get(shadow.id, "r0000")
    assert hidden is not None
    assert hidden.content is None
    assert [registry.pairs.expire(7, most_batches=10) for _ in range(2)] == [1, 0]
    registry.tenants.change("acme", {"shadow_consent": True})
    gone = registry.pairs.get(shadow.id, "r0000")
    assert gone is not None
    assert gone.content is None


def test_a_judges_later_word_on_a_pair_replaces_its_earlier_one(stocked: Shop) -> None:
    registry, shadow = stocked.registry, begun(stocked)
    registry.pairs.record([pair(shadow, 1)], {}, PLENTY)
    for word in ("tie", "candidate"):
        registry.pairs.judged(shadow.id, "r0001", VerdictInfo("judge-a", "candidate", word, word))
    found = registry.pairs.get(shadow.id, "r0001")
    assert found is not None
    assert found.verdicts == (VerdictInfo("judge-a", "candidate", "candidate", "candidate"),)


def test_an_experiment_whose_plan_wants_copies_has_a_shadow_while_it_goes_on(stocked: Shop) -> None:
    registry = stocked.registry
    plan = Plan.of({"treatments": ["1.1"], "shadow": {"percent": 5.0, "requests_per_day": 7}})
    made = registry.experiments.create(parse_ref("acme/triage"), plan, actor="ann")
    assert follow_experiments(registry.db) == {}
    assert registry.shadows.page(None, None, None) == [], "its first step is not in force yet"
    assert made.swap_id is not None
    follow(registry, registry.swaps.get(made.swap_id), timeout_s=0)
    other = begun(stocked)
    assert "runs already" in follow_experiments(registry.db)[made.id]
    registry.shadows.end(other.id, why="make room")
    for _ in range(2):
        assert follow_experiments(registry.db) == {}
        (running,) = [one for one in registry.shadows.page(None, None, None) if one.ended_at_ms is None]
        assert (running.experiment_id, running.share, running.requests_per_day) == (made.id, 500, 7)
        assert running.candidate == "acme/triage@1.1"
    stopped = registry.experiments.decide(made.id, Decision("stop", "enough", actor="ann"))
    assert stopped.swap_id is not None
    follow(registry, registry.swaps.get(stopped.swap_id), timeout_s=0)
    state = registry.experiments.get(made.id).state
    assert follow_experiments(registry.db) == {}
    assert registry.shadows.get(running.id).ended_why == f"experiment {made.id} is {state}"


def test_a_plan_with_copies_needs_consent_and_a_treatment_that_is_a_version(stocked: Shop) -> None:
    registry = stocked.registry
    with pytest.raises(InvalidInput, match=r"shadow\.version is '1\.9'"):
        Plan.of({"treatments": ["1.1"], "shadow": {"version": "1.9"}})
    registry.tenants.change("acme", {"shadow_consent": False})
    with pytest.raises(InvalidInput, match="--shadow-consent"):
        registry.experiments.create(
            parse_ref("acme/triage"), Plan.of({"treatments": ["1.1"], "shadow": {}}), actor="ann"
        )


def test_a_plan_with_copies_that_could_never_begin_is_refused_at_once(stocked: Shop) -> None:
    plan = Plan.of({"treatments": ["1.1"], "shadow": {"dollars": 5.0}})
    with pytest.raises(InvalidInput, match="budget is in dollars, and acme/triage has no price") as refused:
        stocked.registry.experiments.create(parse_ref("acme/triage"), plan, actor="ann")
    assert refused.value.param == "shadow.budget"
    assert stocked.registry.experiments.page(None, 10) == []
