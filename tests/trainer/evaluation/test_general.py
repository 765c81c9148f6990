"""Whether a candidate has forgotten what its base knows, by general prompts."""

from __future__ import annotations

from dataclasses import replace

from tests.trainer.evaluation.conftest import Court
from trainer.endpoints.endpoint import gateway_at
from trainer.evaluation.asking import asker
from trainer.evaluation.general import PROMPTS, check_general, read_prompts, warning_of
from trainer.evaluation.items import Item

NEW = "acme/triage@1.1"


def test_the_candidates_loss_and_answers_are_compared_with_its_bases(court: Court) -> None:
    with asker(gateway_at(court.stack.url, court.stack.house.keys["acme+base"])) as ask:
        items, why = check_general(ask, "tiny", NEW, read_prompts().rows, 4)
    loss, agreement = items
    assert why == {}
    assert (loss.metric, agreement.metric) == ("general_loss", "general_agreement")
    assert loss.improvement == loss.incumbent - loss.candidate
    assert (agreement.incumbent, agreement.word) == (1.0, "worse"), "the mock's adapters never say what its base says"


def test_a_base_compared_with_itself_has_forgotten_nothing(court: Court) -> None:
    with asker(gateway_at(court.stack.url, court.stack.house.keys["acme+base"])) as ask:
        items, _ = check_general(ask, "tiny", "tiny", read_prompts().rows[:20], 4)
    assert [item.improvement for item in items] == [0.0, 0.0]
    assert warning_of(items) is None


def test_a_rise_of_the_loss_above_the_margin_is_a_warning_with_the_remedy() -> None:
    loss = Item("general_loss", 2.0, 2.3, -0.3, -0.4, -0.2, None, 40, 40)
    told = warning_of((loss,))
    assert told is not None
    assert "0.300 nats a token above its base's (2.000 to 2.300), more than 0.1" in told
    assert "Train for fewer steps" in told
    assert warning_of((replace(loss, improvement=-0.1),)) is None
    assert warning_of((replace(loss, metric="loss"),)) is None


def test_our_own_prompts_differ_from_each_other() -> None:
    prompts = read_prompts(PROMPTS).rows
    assert len({row.unit for row in prompts}) == len(prompts) == 40
