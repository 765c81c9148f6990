"""The experiments' pages: what is known of one, orders of people, a new one by form, and votes that are blind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import psutil
import pytest

from dashboard.pages.experiments.making import plan_of
from dashboard.pages.experiments.one import evidence, points, sequence, signed_percent
from dashboard.sessions import Person
from gateway.admin_key import admin_key
from registry.db import now_ms
from registry.experiments.infos import Decision, ExperimentInfo
from registry.experiments.plan import Plan
from registry.names import parse_whole_adapter
from registry.votes.ballots import NewPair, Shown
from registry.votes.store import Side
from tests.support.dashboard_parts import Visitor, dashboard_of, seen
from tests.support.experiment_parts import Traffic
from tests.support.stack import Stack, open_house, run_stack
from tests.support.waiting import wait_until

ADAPTER = parse_whole_adapter("acme/triage")
NAMES = count()
FORM = {"adapter": "acme/triage", "treatments": "1.1", "alias": "production"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """acme/triage at 1.0, with 1.1 to try."""
    with open_house(tmp_path_factory.mktemp("experiments-page")) as house:
        house.tenant("acme")
        for _ in range(2):
            house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack:
            yield stack


@pytest.fixture
def visitor(stack: Stack) -> Iterator[Visitor]:
    """Who is not logged in."""
    with dashboard_of(stack.url) as visitor:
        yield visitor


@pytest.fixture
def operator(stack: Stack, visitor: Visitor) -> Visitor:
    """Who is, with the root key."""
    assert visitor.log_in(admin_key(stack.house.settings)).status_code == 303
    return visitor


@pytest.fixture
def draft(stack: Stack) -> Iterator[ExperimentInfo]:
    """An experiment that has not begun; it is stopped with the test."""
    experiments = stack.house.registry.experiments
    plan = Plan.of({"treatments": ["1.1"], "budget": {"dollars": 5.0}})
    made = experiments.create(ADAPTER, plan, name=f"try-{next(NAMES)}", actor="kim", draft=True)
    yield made
    if settled(stack, made.id).ended_at_ms is None:
        experiments.decide(made.id, Decision("stop", "the test is over"))
        settled(stack, made.id)


@pytest.fixture
def ballot(stack: Stack) -> str:
    """The path of three pairs that are put up."""
    comparison = f"c{next(NAMES)}"
    sides: tuple[Side, Side, Side] = ("a", "b", "a")
    pairs = [
        NewPair(f"p{number}", f"u{number}", side, Shown("<b>Where?</b>", f"left {number}", f"right {number}"))
        for number, side in enumerate(sides)
    ]
    models = ("acme/secret@1.0", "acme/secret@1.1")
    stack.house.registry.ballots.put_up("acme", comparison, models, pairs, actor="kim")
    return f"/experiments/votes/acme/{comparison}"


def settled(stack: Stack, experiment_id: int) -> ExperimentInfo:
    def still() -> ExperimentInfo | None:
        found = stack.house.registry.experiments.get(experiment_id)
        return None if found.moving else found

    return wait_until(f"experiment {experiment_id} to settle", still)


def etag_of(html: str) -> str:
    found: list[str] = re.findall(r'name="etag" value="(\d+)"', html)
    return found[0]


def test_experiments_are_listed_with_their_state_and_those_that_ended_can_be_left_out(
    operator: Visitor, stack: Stack, draft: ExperimentInfo
) -> None:
    text = seen(operator.page("/experiments"))
    assert f"acme/triage@production {draft.name}, number {draft.id} draft" in text
    operator.post(f"/experiments/{draft.id}/stop", {"reason": "given up"})
    assert draft.name not in operator.page("/experiments?open=yes")
    assert f"number {draft.id} stopped" in seen(operator.page("/experiments"))


def test_while_one_runs_its_adapters_page_offers_no_promotion_and_tells_the_shares_of_its_swaps(
    operator: Visitor, stack: Stack, draft: ExperimentInfo
) -> None:
    home = "/adapters/acme/triage"
    assert f"{home}/promote" in operator.page(home)
    stack.house.registry.experiments.decide(draft.id, Decision("start", "go"))
    swap = settled(stack, draft.id).swap_id

    def held() -> str | None:
        page = operator.page(home)
        return None if f"{home}/promote" in page else page

    page = wait_until("the page to know of it", held)
    assert f"No promotion and no rollback: experiment {draft.id}" in seen(page)
    assert "production split: 1.0 99 %, 1.1 1 %" in seen(page)
    assert "production to 1.0 99 %, 1.1 1 %" in seen(operator.page(f"{home}/swaps/{swap}"))


def test_a_person_begins_pauses_resumes_and_stops_one_on_what_the_page_showed(
    operator: Visitor, stack: Stack, draft: ExperimentInfo
) -> None:
    path = f"/experiments/{draft.id}"
    page = operator.page(path)
    assert "Nothing is decided before somebody says so" in seen(page)
    assert operator.post(f"{path}/start", {"etag": etag_of(page)}).status_code == 303
    assert "It begins" in seen(operator.page(path))
    assert settled(stack, draft.id).state == "running"
    wait_until("the first look", lambda: "It stays at this step." in operator.page(f"{path}/~live"))
    page = operator.page(path)
    text = seen(page)
    assert "step 1 of 5" in text
    assert "1.1 1 % 0 0 0 0 $0.00" in text, "its arms"
    assert "Arms got the units that were planned" in text
    assert "errors: too few units yet to compare 1.1" in text.replace("too few units too", "too")
    old = etag_of(page)

    def pauses() -> bool:
        """A decision of the leader may come between what is read and what is ordered."""
        now = etag_of(operator.page(path))
        assert operator.post(f"{path}/pause", {"etag": now, "reason": "lunch"}).status_code == 303
        return "paused" in seen(operator.page(path))

    wait_until("it to pause", pauses)
    operator.post(f"{path}/resume", {"etag": old})
    assert "is not as it was read any more" in seen(operator.page(path)), "somebody has decided meanwhile"
    operator.post(f"{path}/resume", {"etag": etag_of(operator.page(path))})
    operator.post(f"{path}/stop", {"etag": etag_of(operator.page(path)), "keep": "yes"})
    ended = stack.house.registry.experiments.get(draft.id)
    assert (ended.state, ended.weights) == ("stopped", {})
    last = stack.house.registry.experiments.decisions(draft.id)[-1]
    assert (last.actor, last.weights["1.1"]) == ("root", 100)
    log = seen(operator.page(f"{path}/log"))
    assert "the log is as it was written" in log
    assert "lunch" in log
    stack.house.end_split("acme/triage")


def test_a_page_whose_experiment_nobody_analyses_says_so(
    operator: Visitor, stack: Stack, draft: ExperimentInfo
) -> None:
    path, experiments = f"/experiments/{draft.id}", stack.house.registry.experiments
    operator.post(f"{path}/start", {"etag": etag_of(operator.page(path))})
    info = settled(stack, draft.id)
    wait_until("the first look", lambda: experiments.get(draft.id).standing)
    assert "is not analysed yet" not in seen(operator.page(path))
    analyst = next(
        one for one in psutil.Process().children(recursive=True) if "gateway.experiments.analyst" in one.cmdline()
    )
    analyst.suspend()
    try:
        traffic = Traffic(stack.house.registry, info)
        traffic.book(traffic.row("a", "1.0", started_at_ms=now_ms() - 600_000))
        said = "is not analysed yet; the leader's duty 'experiments' fails"
        wait_until("the page to say so", lambda: said in seen(operator.page(path)))
    finally:
        analyst.resume()
    wait_until("it to be analysed", lambda: "is not analysed yet" not in seen(operator.page(path)))


def test_a_reader_sees_no_orders_and_may_give_none(visitor: Visitor, stack: Stack, draft: ExperimentInfo) -> None:
    visitor.become(Person("rae", "read", admin_key(stack.house.settings)))
    page = visitor.page(f"/experiments/{draft.id}")
    assert f"/experiments/{draft.id}/start" not in page
    assert visitor.post(f"/experiments/{draft.id}/start").status_code == 403
    assert stack.house.registry.experiments.get(draft.id).state == "draft"


def test_a_form_says_what_a_plan_would_do_and_creates_a_draft_of_it(operator: Visitor, stack: Stack) -> None:
    form = {
        **FORM,
        "metric": "solved",
        "direction": "higher",
        "margin": "0.01",
        "ramp": "5, 50",
        "name": f"by-{next(NAMES)}",
    }
    said = seen(operator.post("/experiments/new", {**form, "go": "preview"}).text)
    assert "1.1 against 1.0, for the traffic of acme/triage@production" in said
    assert "wins by: solved at most 0.01 worse (higher is better)" in said
    made = operator.post("/experiments/new", {**form, "go": "create", "draft": "yes"})
    assert made.status_code == 303
    info = stack.house.registry.experiments.find(f"acme/triage:{form['name']}")
    assert (info.state, info.actor, [step.percent for step in info.plan.ramp]) == ("draft", "root", [5, 50])
    operator.post(f"/experiments/{info.id}/stop")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"treatments": ""}, "Name what is tried, such as 1.1."),
        ({"margin": "much"}, "margin is 'much', which is no number"),
        ({"treatments": "1.9"}, "there is no acme/triage@1.9"),
        ({"adapter": "nonsense"}, "'nonsense'"),
        ({"metric": "solved"}, "a metric of feedback needs its direction"),
        ({"ramp": "50 5"}, "percents must rise"),
    ],
)
def test_a_form_that_cannot_be_is_shown_again_with_its_fault(
    operator: Visitor, change: dict[str, str], told: str
) -> None:
    answer = operator.post("/experiments/new", {**FORM, "go": "create", **change})
    assert answer.status_code == 400
    assert told in seen(answer.text)
    assert f'value="{change.get("margin", "")}"' in answer.text, "what was typed stays"


def test_who_votes_sees_neither_names_nor_sides_and_is_shown_pair_after_pair(
    operator: Visitor, stack: Stack, ballot: str
) -> None:
    asked = operator.page(f"{ballot}/vote")
    assert "Your name" in asked
    page = operator.page(f"{ballot}/vote?voter=ann")
    assert "&lt;b&gt;Where?&lt;/b&gt;" in page, "text of others is data"
    assert "0 of 3 pairs" in seen(page)
    for word in ("secret", "winner", "left_side", 'value="a"', 'value="b"'):
        assert word not in asked + page, word
    for number, said in enumerate(("left", "right", "tie")):
        fields = {"voter": "ann", "pair": f"p{number}", "said": said, "after": str(number + 1)}
        sent = operator.post(f"{ballot}/vote", fields)
        assert sent.status_code == 303
    votes = stack.house.registry.votes.of("acme", ballot.rpartition("/")[2])
    assert [(vote.pair, vote.winner) for vote in votes] == [("p0", "a"), ("p1", "a"), ("p2", "tie")]
    done = operator.page(f"{ballot}/vote?voter=ann&back=p2")
    assert "You have voted on all 3 pairs. Thank you, ann." in seen(done)
    operator.post(f"{ballot}/vote", {"voter": "ann", "pair": "p2", "said": "undo"})
    assert "2 of 3 pairs" in seen(operator.page(f"{ballot}/vote?voter=ann"))


def test_results_name_the_models_and_a_ballot_can_be_taken_down(operator: Visitor, ballot: str) -> None:
    operator.post(f"{ballot}/vote", {"voter": "ann", "pair": "p0", "said": "left"})
    text = seen(operator.page(ballot))
    assert "acme/secret@1.1 against acme/secret@1.0" in text
    assert "ann: 1 of 3" in text
    assert ballot in operator.page("/experiments/votes")
    assert operator.post(f"{ballot}/take-down").status_code == 303
    assert "its votes stay" in seen(operator.page("/experiments/votes"))
    assert operator.get(ballot).status_code == 404


def test_where_there_is_no_ballot_and_no_shadow_the_page_says_what_to_type(operator: Visitor) -> None:
    assert "switchyard experiments shadow acme/triage 1.1" in seen(operator.page("/experiments/shadows"))
    assert operator.get("/experiments/shadows/99").status_code == 404
    assert operator.get("/experiments/999").status_code == 404


def looks(*ends: tuple[int, float, float | None, float | None]) -> list[dict[str, Any]]:
    return [{"units": units, "estimate": estimate, "low": low, "high": high} for units, estimate, low, high in ends]


def test_a_sequence_is_drawn_in_points_with_its_margin_and_without_intervals_that_hide_the_rest() -> None:
    told = {
        "metric": "solved",
        "unit": "points",
        "direction": "higher",
        "margin": -0.01,
        "sure": 0.95,
        "looks": {
            "1.1": looks((100, 0.0, None, None), (200, 0.1, -0.9, 1.0), (900, 0.03, 0.0, 0.06), (990, 0.04, 0.02, 0.06))
        },
    }
    drawn = str(sequence(told, {"control": "1.0"}))
    assert "+4 points" in drawn
    assert "[+2 points, +6 points]" in drawn
    assert "as much worse as it may be (−1 point)" in drawn
    assert "990 units" in drawn
    assert "200 units" not in drawn
    assert "begins with 200 units" in str(sequence({**told, "looks": {"1.1": []}}, {"control": "1.0"}))
    assert (points(None), points(0.0), signed_percent(-0.123)) == ("–", "0 points", "−12.3 %")


def test_a_first_look_which_may_have_decided_is_drawn_as_its_interval() -> None:
    told = {
        "metric": "solved",
        "unit": "points",
        "direction": "higher",
        "margin": 0.0,
        "sure": 0.95,
        "looks": {"1.1": looks((40, 0.0, None, None), (201, -0.99, -1.0, -0.92)), "1.2": []},
    }
    drawn = str(sequence(told, {"control": "1.0"}))
    assert "begins with 200 units" not in drawn
    assert "−99 points" in drawn
    assert drawn.count('class="interval"') == 1


def test_what_is_not_as_it_should_be_is_said_so_and_not_as_if_it_was() -> None:
    def told(*, acts: bool) -> list[tuple[str, str]]:
        log_e = 9.3 if acts else 0.7
        arms = {"of": "sample ratio", "log_e": log_e, "acts_at": 4.6, "acts": acts, "failed": None}
        fails = {"of": "1.1", "log_e": log_e, "acts_at": 9.2, "acts": acts, "failed": (7, 2)}
        return [(one.name, one.kind) for one in evidence([arms, fails], "1.0")]

    assert told(acts=False) == [
        ("Arms got the units that were planned", "good"),
        ("1.1 fails no more than by chance: 7 units, and 2 of 1.0", "good"),
    ]
    assert told(acts=True) == [
        ("Arms did not get the units that were planned", "bad"),
        ("1.1 fails more than by chance: 7 units, and 2 of 1.0", "bad"),
    ]


def test_a_form_that_leaves_all_open_is_a_plan_of_treatments_and_a_metric() -> None:
    assert plan_of({"treatments": "1.1 1.2"}) == {"treatments": ["1.1", "1.2"], "metric": {"name": "errors"}}
    full = plan_of({"treatments": "1.1", "ramp": "1 → 50 %", "dwell_min": "2", "min_units": "10", "days": "3"})
    assert full["ramp"] == [
        {"percent": 1.0, "dwell_s": 120, "min_units": 10},
        {"percent": 50.0, "dwell_s": 120, "min_units": 10},
    ]
    assert full["budget"] == {"days": 3.0}
