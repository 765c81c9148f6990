"""A plan: what it is when nobody says more, what is refused with which remedy, and how a ramp shares traffic out."""

from __future__ import annotations

from typing import Any

import pytest

from registry.errors import InvalidInput
from registry.experiments.plan import Plan

ONE: dict[str, Any] = {"treatments": ["1.1"]}


def test_a_version_alone_is_a_plan() -> None:
    plan = Plan.of(ONE)
    assert [step.percent for step in plan.ramp] == [1, 5, 25, 50, 100]
    assert (plan.metric.name, plan.metric.direction, plan.metric.margin) == ("errors", "lower", 0.02)
    assert [(one.metric, one.relative) for one in plan.guardrails] == [
        ("errors", False),
        ("latency_p95", True),
        ("empty", False),
    ]
    assert (plan.on_win, plan.on_harm, plan.unit, plan.alpha) == ("promote", "rollback", "conversation", 0.05)
    assert plan.audience.everybody
    assert Plan.of(plan.document) == plan


def test_a_stored_plan_is_what_was_checked_and_stricter_rules_refuse_nothing_of_it() -> None:
    given = {
        "treatments": ["1.1", "base"],
        "control": "1.0",
        "audience": {"keys": ["k"], "metadata": {"plan": ["pro", "team"]}},
        "guardrails": [{"metric": "cost", "margin": 1.0}],
        "shadow": {"percent": 3.0},
    }
    plan = Plan.of(given)
    assert Plan.stored(plan.document) == plan
    document = {**plan.document, "alpha": 7.0, "weights": {"1.1": -1}, "of_an_older_release": True}
    found = Plan.stored({**document, "metric": {**document["metric"], "margin": -1e99, "name": "no name at all"}})
    assert (found.alpha, found.metric.margin, found.metric.name) == (7.0, -1e99, "no name at all")
    assert found.document["budget"] == plan.document["budget"]
    assert not hasattr(found, "of_an_older_release")


def test_who_tries_the_base_is_asked_before_anything_is_promoted() -> None:
    assert Plan.of({"treatments": ["base"]}).on_win == "ask"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "treatments is missing"),
        ({"treatments": []}, r"treatments is \[\]: Tuple should have at least 1 item"),
        ({"treatments": "1.1"}, r"treatments is '1\.1': Input should be a valid"),
        ({"treatments": ["newest"]}, "'newest' is no version; write MAJOR.MINOR such as 1.1, or base"),
        ({"treatments": ["1.1", "1.1"]}, "name every treatment once"),
        ({"treatments": ["openai/gpt-4o"]}, "external models can be arms as soon as a kind of engine for them exists"),
        ({**ONE, "treatment": 1}, "treatment is 1: a plan has no such field"),
        ({**ONE, "control": "1.1"}, r"control is '1\.1', which is a treatment too"),
        ({**ONE, "alpha": 0}, "alpha is 0: Input should be greater than 0"),
        ({**ONE, "alpha": float("nan")}, "alpha is nan"),
        ({**ONE, "alpha": "0.05"}, r"alpha is '0\.05': Input should be a valid number"),
        ({**ONE, "ramp": [{"percent": 101.0}]}, r"ramp\[0\]\.percent is 101\.0: Input should be less than or equal to"),
        ({**ONE, "ramp": [{"percent": 5}, {"percent": 5}]}, r"ramp is .*percents must rise"),
        ({**ONE, "ramp": [{"percent": 0}]}, "percents must rise from 0.01"),
        ({"treatments": ["1.1", "1.2"], "ramp": [{"percent": 0.01}]}, "ramp begins with 0.01 %, too little for 2"),
        ({**ONE, "weights": {"1.2": 1}}, r"weights are of 1\.2; give one to every treatment"),
        ({**ONE, "weights": {"1.1": 0}}, r"weights are \[0\]; each is 1 to 10000"),
        ({**ONE, "metric": {"name": "accepted"}}, "needs its direction, 'higher' or 'lower'"),
        ({**ONE, "guardrails": [{"metric": "thumbs", "margin": 1}]}, r"guardrails\[0\] is .*needs its direction"),
        ({**ONE, "guardrails": [{"metric": "empty", "margin": -1}]}, r"guardrails\[0\]\.margin is -1"),
        ({**ONE, "guardrails": [{"metric": "empty", "margin": 1}] * 2}, "name every metric once"),
        ({**ONE, "salt": "short"}, "salt is 'short'"),
        ({**ONE, "holdout_percent": 60}, "holdout_percent is 60"),
        ({**ONE, "budget": {"units": 10**9}}, r"budget\.units is 1000000000"),
        ({**ONE, "unit": "weather"}, "unit is 'weather': Input should be 'conversation'"),
        ({"treatments": ["base"], "on_win": "promote"}, 'on_win is "promote", and base is a treatment'),
        ({**ONE, "metric": 7}, "metric is 7"),
        ({**ONE, "metric": {"name": "Ünïcode", "direction": "lower"}}, r"metric\.name is 'Ünïcode'"),
        ({**ONE, "guardrails": [{"metric": "a b", "margin": 1, "direction": "lower"}]}, r"\.metric is 'a b'"),
        ({**ONE, "audience": {"metadata": {"plan": []}}}, r"audience\.metadata\.plan is \[\]"),
        ({**ONE, "weights": {f"1.{n}": 1 for n in range(999)}}, r"weights are of .{80}; give"),
    ],
)
def test_what_cannot_be_planned_is_refused_by_field_value_and_remedy(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        Plan.of(given)
    assert refused.value.param
    assert refused.value.param in refused.value.message or "metric" in refused.value.param


def test_a_metric_that_is_measured_here_has_its_direction() -> None:
    plan = Plan.of({**ONE, "metric": {"name": "conformance"}, "guardrails": [{"metric": "cost", "margin": 0.01}]})
    assert (plan.metric.direction, plan.guardrails[0].direction) == ("higher", "lower")


@pytest.mark.parametrize(
    ("treatments", "weights", "percent", "expected"),
    [
        (["1.1"], None, 1.0, {"1.0": 9900, "1.1": 100}),
        (["1.1", "1.2", "1.3"], None, 100.0, {"1.0": 0, "1.1": 3334, "1.2": 3333, "1.3": 3333}),
        (["1.1", "1.2"], {"1.1": 3, "1.2": 1}, 5.0, {"1.0": 9500, "1.1": 375, "1.2": 125}),
        (["1.1", "1.2"], {"1.1": 1, "1.2": 2}, 0.05, {"1.0": 9995, "1.1": 2, "1.2": 3}),
    ],
)
def test_a_steps_share_is_parted_among_treatments_to_the_last_bucket(
    treatments: list[str], weights: dict[str, int] | None, percent: float, expected: dict[str, int]
) -> None:
    document = {"treatments": treatments, "control": "1.0", "weights": weights, "ramp": [{"percent": percent}]}
    found = Plan.of(document).weights_at(0)
    assert found == expected
    assert next(iter(found)) == "1.0"
    assert sum(found.values()) == 10_000
