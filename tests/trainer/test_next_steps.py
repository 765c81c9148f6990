"""What `switchyard train` says is to be done with a version: to promote it, after what its gate asks for."""

from __future__ import annotations

from pathlib import Path

from registry.gates.policy import Policy
from registry.names import parse_ref
from switchyard.commands.evaluate_report import what_follows
from switchyard.commands.train_report import _next_steps
from tests.support.stack import open_house
from trainer.evaluation.items import Item
from trainer.pipeline import _gate_against


def test_a_version_of_an_adapter_with_a_gate_is_evaluated_first_against_what_is_in_production(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        house.tenant("acme")
        first = house.publish("acme/triage")
        assert _gate_against(house.registry, first) is None
        house.registry.gates.set(parse_ref("acme/triage"), Policy("rouge_l"), actor="kim")
        assert _gate_against(house.registry, first) == "base"
        house.publish("acme/served")
        house.point("acme/served", "1.0")
        house.registry.gates.set(parse_ref("acme/served"), Policy("rouge_l"), actor="kim")
        second = house.publish("acme/served")
        assert _gate_against(house.registry, second) == "production"
        assert _next_steps(second.name, "production") == [
            "its gate asks for a certificate first: "
            "switchyard evaluate acme/served@1.1 --against production --data FILE",
            "then serve it: switchyard adapters promote acme/served@1.1",
        ]


def test_without_a_gate_it_is_promoted() -> None:
    assert _next_steps("acme/triage@1.0", None) == ["serve it: switchyard adapters promote acme/triage@1.0"]


def measured(low: float, high: float, metric: str = "label_exact") -> Item:
    return Item(metric, 0.5, 0.5, 0.0, low, high, None, 40, 40)


def test_nobody_is_told_to_serve_what_was_just_measured_to_be_worse() -> None:
    serve = "switchyard adapters promote acme/triage@1.1"
    better, unsure, worse = measured(0.1, 0.2), measured(-0.1, 0.1, "rouge_l"), measured(-0.2, -0.1, "json_exact")
    assert what_follows("measured", "acme/triage@1.1", [better, unsure]) == [f"serve it: {serve}"]
    assert what_follows("measured", "acme/triage@1.1", [better, worse]) == [
        "it is worse by json_exact: leave what is in production"
    ]
    (said,) = what_follows("measured", "acme/triage@1.1", [unsure])
    assert said == f"it is not shown to be better: more rows may tell (--rows); to serve it all the same: {serve}"
    assert what_follows("passed", "acme/triage@1.1", [worse]) == [f"serve it: {serve}"]
    assert what_follows("failed", "acme/triage@1.1", [worse]) == []
