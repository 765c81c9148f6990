"""While an alias has a gate it moves by a certificate alone, about what it points at in that very moment."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from registry.errors import Conflict, GateClosed, InvalidInput, NotFound, RegistryError
from registry.gates.certificate import EvaluationData, Finding, Party, certify
from registry.gates.policy import Figure, Guard, Policy, judge
from registry.gates.rows import Certificate
from registry.gates.store import CertificateInfo
from registry.names import parse_ref
from registry.storage.blobs import canonical_json, digest_of
from registry.swaps.following import follow
from registry.swaps.infos import DONE, FAILED, SwapInfo
from tests.registry.conftest import TRIAGE, Shop
from tests.support.waiting import DEADLINE_S

BETTER = Figure("label_exact", 0.5, 0.7, 0.2, 0.1, 0.3)
NO_WORSE = Figure("rouge_l", 0.80, 0.79, -0.01, -0.02, 0.0)
POLICY = Policy("label_exact", 0.02, (Guard("rouge_l", 0.05),))
DATA = EvaluationData("heldout.jsonl", "sha256:" + "d" * 64, 60, 60)


@pytest.fixture
def gated(shop: Shop) -> Shop:
    """Four versions, the first in production, and a gate."""
    shop.versions(4)
    shop.promote("acme/triage@1.0")
    shop.registry.gates.set(TRIAGE, POLICY, actor="someone")
    return shop


def finding(shop: Shop, candidate: str, incumbent: str | None = "acme/triage@1.0", **changed: Any) -> Finding:
    version = shop.registry.adapters.get(parse_ref(candidate))
    against = shop.registry.adapters.get(parse_ref(incumbent)).manifest_digest if incumbent else None
    whole = Finding(
        Party(candidate, version.manifest_digest),
        Party(incumbent or "tiny", against),
        version.base_digest,
        DATA,
        (BETTER, NO_WORSE),
        {"max_tokens": 8},
    )
    return replace(whole, **changed)


def certified(shop: Shop, candidate: str, incumbent: str | None = "acme/triage@1.0", **changed: Any) -> CertificateInfo:
    found = finding(shop, candidate, incumbent, **changed)
    return shop.registry.gates.record(parse_ref(candidate), found, actor="someone")


def ask(shop: Shop, version: str, **options: Any) -> SwapInfo:
    return shop.registry.swaps.request(parse_ref(version), actor="someone", **options)


def standing(shop: Shop, version: str) -> str | None:
    found = shop.registry.adapters.get(parse_ref(version)).id
    return shop.registry.gates.standings([found]).get(found)


def test_without_a_gate_nothing_is_asked_for(shop: Shop) -> None:
    shop.versions(2)
    assert follow(shop.registry, ask(shop, "acme/triage@1.1"), 5).state == DONE
    assert standing(shop, "acme/triage@1.1") is None
    assert certified(shop, "acme/triage@1.0", None).verdict == "measured"


def test_a_version_without_a_certificate_is_refused_with_the_command_that_makes_one(gated: Shop) -> None:
    with pytest.raises(GateClosed) as refused:
        ask(gated, "acme/triage@1.1")
    assert "acme/triage@1.1 has no certificate, and the gate of acme/triage@production asks for one" in str(
        refused.value
    )
    assert "`switchyard evaluate acme/triage@1.1 --against production --data FILE`" in str(refused.value)
    assert gated.registry.swaps.pending() == []
    assert standing(gated, "acme/triage@1.1") == "none"


def test_a_certificate_that_passed_opens_the_gate_and_is_named_in_the_swap(gated: Shop) -> None:
    made = certified(gated, "acme/triage@1.1")
    assert (made.verdict, standing(gated, "acme/triage@1.1")) == ("passed", "passed")
    swap = follow(gated.registry, ask(gated, "acme/triage@1.1"), 5)
    assert (swap.state, swap.detail["gate"]) == (DONE, {"certificates": [made.digest]})
    assert standing(gated, "acme/triage@1.1") == "in place"


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ((replace(BETTER, low=0.01), NO_WORSE), "undecided"),
        ((replace(BETTER, low=-0.1, high=0.01), NO_WORSE), "failed"),
        ((BETTER, replace(NO_WORSE, low=-0.06)), "undecided"),
        ((BETTER, replace(NO_WORSE, low=-0.2, high=-0.06)), "failed"),
        ((BETTER,), "undecided"),
        ((replace(BETTER, low=None, high=None), NO_WORSE), "undecided"),
    ],
)
def test_what_has_not_passed_is_refused_with_its_word(gated: Shop, figures: tuple[Figure, ...], word: str) -> None:
    assert certified(gated, "acme/triage@1.1", figures=figures).verdict == word
    with pytest.raises(GateClosed, match=rf"has not passed the gate of .* \({word}\); `switchyard gates show"):
        ask(gated, "acme/triage@1.1")
    assert standing(gated, "acme/triage@1.1") == word


def test_a_certificate_that_was_stored_with_an_older_word_is_read_with_that_of_today(gated: Shop) -> None:
    made = certified(gated, "acme/triage@1.1", figures=(BETTER,))
    with gated.registry.db.write() as session:  # as it was written by an earlier version
        row = session.scalars(select(Certificate).where(Certificate.digest == made.digest)).one()
        columns = {column.name: getattr(row, column.name) for column in Certificate.__table__.columns}
        older = {**columns, "id": row.id + 1, "digest": f"sha256:{'0' * 64}", "verdict": "cannot tell"}
        session.execute(insert(Certificate).values(older))
    assert gated.registry.gates.certificate("0" * 64).verdict == "undecided"
    assert standing(gated, "acme/triage@1.1") == "undecided"
    with pytest.raises(GateClosed, match=r"has not passed the gate of .* \(undecided\)"):
        ask(gated, "acme/triage@1.1")


def test_too_few_rows_or_another_evaluation_set_leave_it_undecided(gated: Shop) -> None:
    few = certified(gated, "acme/triage@1.1", data=replace(DATA, rows=19, units=19))
    assert few.verdict == "undecided"
    assert "19 conversations are too few: the gate asks for 20" in few.document["reasons"]
    pinned = replace(POLICY, data="sha256:" + "e" * 64)
    verdict = judge(pinned, (BETTER, NO_WORSE), 60, DATA.digest)
    assert verdict.word == "undecided"
    assert "the gate asks for the evaluation set eeeeeeeeeeee, not dddddddddddd" in verdict.reasons


def test_of_two_promotions_at_once_one_wins_and_the_other_certificate_is_stale(gated: Shop) -> None:
    for version in ("acme/triage@1.1", "acme/triage@1.2"):
        assert certified(gated, version).verdict == "passed"
    begin, outcomes = threading.Barrier(2), []

    def promote(version: str) -> str:
        begin.wait(DEADLINE_S)
        try:
            return follow(gated.registry, ask(gated, version), DEADLINE_S).state
        except RegistryError as error:
            return type(error).__name__

    versions = ("acme/triage@1.1", "acme/triage@1.2")
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(promote, versions))
    assert outcomes.count(DONE) == 1, outcomes
    loser = versions[1 - outcomes.index(DONE)]
    assert outcomes[1 - outcomes.index(DONE)] in ("Conflict", "GateClosed", FAILED)
    with pytest.raises(GateClosed, match=rf"the certificate of {loser} is stale: it is not about acme/triage@1\.[12],"):
        ask(gated, loser)
    assert standing(gated, loser) == "stale"


def test_an_incumbent_that_moved_after_the_request_lets_nothing_pass(gated: Shop) -> None:
    certified(gated, "acme/triage@1.1")
    swap = ask(gated, "acme/triage@1.1", alias="production")
    gated.registry.gates.clear(TRIAGE, actor="someone")
    gated.registry.gates.set(TRIAGE, replace(POLICY, better_by=0.5), actor="someone")
    with pytest.raises(GateClosed, match="the gate of acme/triage@production was set or changed since"):
        gated.registry.swaps.flip(swap.id)
    assert follow(gated.registry, swap, 5).state == FAILED, "it ends with the reason, and not in the queue"
    assert gated.registry.adapters.get(parse_ref("acme/triage@production")).name == "acme/triage@1.0"


def test_a_gate_that_is_set_while_a_promote_runs_stops_it(shop: Shop) -> None:
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    swap = ask(shop, "acme/triage@1.1")
    shop.registry.gates.set(TRIAGE, POLICY, actor="someone")
    with pytest.raises(GateClosed, match="has no certificate"):
        shop.registry.swaps.flip(swap.id)


def test_a_later_evaluation_that_failed_closes_the_gate_again(gated: Shop) -> None:
    certified(gated, "acme/triage@1.1")
    certified(gated, "acme/triage@1.1", figures=(replace(BETTER, low=-0.3, high=-0.1), NO_WORSE))
    with pytest.raises(GateClosed, match="has not passed"):
        ask(gated, "acme/triage@1.1")


def test_an_evaluation_against_the_base_takes_nothing_from_one_against_the_incumbent(gated: Shop) -> None:
    certified(gated, "acme/triage@1.1")
    certified(gated, "acme/triage@1.1", None)
    assert standing(gated, "acme/triage@1.1") == "passed"


def test_the_first_version_of_an_alias_is_judged_against_its_base(shop: Shop) -> None:
    shop.versions(1)
    shop.registry.gates.set(TRIAGE, POLICY, actor="someone")
    with pytest.raises(GateClosed, match="--against base"):
        ask(shop, "acme/triage@1.0")
    certified(shop, "acme/triage@1.0", None)
    assert follow(shop.registry, ask(shop, "acme/triage@1.0"), 5).state == DONE


def test_an_override_passes_and_is_in_the_list_of_actions_with_its_reason_and_who_it_was(gated: Shop) -> None:
    for nothing in ("", "  "):
        with pytest.raises(InvalidInput, match="say why the gate does not matter"):
            ask(gated, "acme/triage@1.1", override=nothing)
    swap = follow(gated.registry, ask(gated, "acme/triage@1.1", override="a fix that cannot wait"), 5)
    assert (swap.state, swap.detail["gate"]) == (DONE, {"override": "a fix that cannot wait"})
    newest = gated.registry.actions.page(None, 1)[0]
    assert (newest.action, newest.actor, newest.subject) == ("gate.overridden", "someone", "acme/triage@production")
    assert newest.detail["reason"] == "a fix that cannot wait"
    assert newest.detail["versions"] == ["acme/triage@1.1"]
    assert "has no certificate" in newest.detail["lacking"][0]


def test_an_override_that_nobody_needed_is_not_written_down(gated: Shop) -> None:
    made = certified(gated, "acme/triage@1.1")
    assert ask(gated, "acme/triage@1.1", override="just in case").detail["gate"] == {"certificates": [made.digest]}
    assert gated.registry.actions.page(None, 1)[0].action != "gate.overridden"


def test_to_go_back_needs_no_certificate(gated: Shop) -> None:
    certified(gated, "acme/triage@1.1")
    follow(gated.registry, ask(gated, "acme/triage@1.1"), 5)
    swap = follow(gated.registry, gated.registry.swaps.request_rollback(TRIAGE, actor="someone"), 5)
    assert (swap.state, swap.to_version) == (DONE, "acme/triage@1.0")


@pytest.mark.parametrize(
    "weights", [{"1.0": 0, "1.1": 10_000}, {"1.0": 4_999, "1.1": 5_001}, {"1.1": 3_000, "1.2": 7_000}]
)
def test_a_split_gives_unproven_versions_half_of_the_traffic_at_most(gated: Shop, weights: dict[str, int]) -> None:
    swaps = gated.registry.swaps
    with pytest.raises(GateClosed, match=r"acme/triage@1\.1 has no certificate"):
        swaps.request_ramp(TRIAGE, weights, actor="someone")
    half = swaps.request_ramp(TRIAGE, {"1.0": 5_000, "1.1": 2_500, "1.2": 2_500}, actor="someone")
    assert follow(gated.registry, half, 5).state == DONE
    for version in ("acme/triage@1.1", "acme/triage@1.2"):
        certified(gated, version)
    assert follow(gated.registry, swaps.request_ramp(TRIAGE, weights, actor="someone"), 5).state == DONE


def test_a_split_may_pass_by_an_override_and_end_without_one(gated: Shop) -> None:
    swaps = gated.registry.swaps
    ramp = swaps.request_ramp(TRIAGE, {"1.0": 1_000, "1.1": 9_000}, actor="someone", override="we watch it")
    assert follow(gated.registry, ramp, 5).detail["gate"] == {"override": "we watch it"}
    assert follow(gated.registry, swaps.request_ramp_end(TRIAGE, actor="someone"), 5).state == DONE


def test_another_alias_is_free_unless_it_has_a_gate_of_its_own(gated: Shop) -> None:
    assert follow(gated.registry, ask(gated, "acme/triage@1.1", alias="canary"), 5).state == DONE
    gated.registry.gates.set(TRIAGE, POLICY, alias="canary", actor="someone")
    with pytest.raises(GateClosed, match="the gate of acme/triage@canary"):
        ask(gated, "acme/triage@1.2", alias="canary")


def test_a_certificate_is_named_by_the_digest_of_its_own_bytes(gated: Shop) -> None:
    made = certified(gated, "acme/triage@1.1")
    assert digest_of(canonical_json(made.document)) == made.digest
    assert made.document["gate"] == POLICY.document
    for key in ("candidate", "incumbent", "data"):
        assert made.document[key]["digest"].startswith("sha256:")
    again = certified(gated, "acme/triage@1.1")
    assert (again.digest, again.made_at_ms) == (made.digest, made.made_at_ms), (
        "the same finding is the same certificate"
    )
    assert gated.registry.gates.certificate(made.digest[:20]) == made
    assert gated.registry.gates.certificates(parse_ref("acme/triage@1.1")) == [made]


def test_whatever_changes_in_an_evaluation_changes_its_name(gated: Shop) -> None:
    whole = finding(gated, "acme/triage@1.1")
    others = [
        replace(whole, candidate=replace(whole.candidate, digest="sha256:x")),
        replace(whole, incumbent=replace(whole.incumbent, digest=None)),
        replace(whole, base_digest="sha256:x"),
        replace(whole, data=replace(whole.data, digest="sha256:x")),
        replace(whole, figures=(BETTER,)),
        replace(whole, settings={"max_tokens": 9}),
    ]
    names = [certify(one, POLICY).digest for one in (whole, *others)]
    names += [certify(whole, None).digest, certify(whole, replace(POLICY, better_by=0.03)).digest]
    assert len(set(names)) == len(names)


def test_the_database_itself_refuses_to_change_a_certificate(gated: Shop) -> None:
    certified(gated, "acme/triage@1.1")
    for statement in ("UPDATE certificates SET verdict = 'passed'", "DELETE FROM certificates"):
        with pytest.raises(DBAPIError, match="append-only"), gated.registry.db.write() as session:
            session.execute(text(statement))


def test_a_finding_about_other_bytes_is_no_certificate_of_this_version(gated: Shop) -> None:
    found = finding(gated, "acme/triage@1.1")
    with pytest.raises(InvalidInput, match=r"candidate is 'acme/triage@1\.1', not acme/triage@1\.2"):
        gated.registry.gates.record(parse_ref("acme/triage@1.2"), found, actor="someone")


def test_gates_are_listed_changed_and_cleared_by_name_and_every_change_is_written_down(gated: Shop) -> None:
    gates = gated.registry.gates
    (info,) = gates.all(TRIAGE)
    assert (info.adapter, info.alias, info.policy, info.actor) == ("acme/triage", "production", POLICY, "someone")
    changed = gates.set(TRIAGE, replace(POLICY, better_by=0.1), actor="another")
    assert changed.digest != info.digest
    gates.clear(TRIAGE, actor="someone")
    assert gates.all() == []
    with pytest.raises(NotFound, match="acme/triage@production has no gate"):
        gates.clear(TRIAGE, actor="someone")
    actions = [one.action for one in gated.registry.actions.page(None, 3)]
    assert actions == ["gate.cleared", "gate.set", "gate.set"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "gate is no gate"),
        ({"target": "a", "better_by": -1}, "better_by is -1; expected a number that is not negative"),
        ({"target": "a", "better_by": float("nan")}, "better_by is nan"),
        ({"target": ""}, "target is ''; expected the name of a metric"),
        ({"target": "a", "guards": [{"metric": "a", "margin": 1}]}, "guard is 'a', which is named already"),
        ({"target": "a", "guards": [{"metric": "b", "margin": -1}]}, "margin of b is -1"),
        ({"target": "a", "guards": [{"metric": "b"}]}, "gate is no gate"),
        ({"target": "a", "guards": "b"}, "gate is no gate"),
        ({"target": "a", "least_units": 0}, "least_units is 0; expected 1 at least"),
        ({"target": "a", "margin": 1}, "gate has 'margin', which it does not know"),
        ({"target": "a", "better_by": "much"}, "gate is no gate"),
    ],
)
def test_what_is_no_gate_is_refused_by_field(document: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        Policy.of(document)


def test_a_gate_reads_back_as_it_was_written() -> None:
    assert Policy.of(json.loads(json.dumps(POLICY.document))) == POLICY


def test_a_stale_certificate_is_a_conflict_for_who_knows_no_gates() -> None:
    assert issubclass(GateClosed, Conflict)
