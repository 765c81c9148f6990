"""Two versions are compared through the gateway's own endpoint."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from registry.names import parse_ref
from tests.support.stack import Stack
from tests.trainer.evaluation.conftest import TOKENS, Court
from trainer.endpoints.endpoint import gateway_at
from trainer.errors import EndpointError, EvaluationError
from trainer.evaluation.asking import NoLikelihood, asker
from trainer.evaluation.comparison import Evaluation, Wanted, compare
from trainer.evaluation.items import Item
from trainer.evaluation.metrics import metric_named
from trainer.evaluation.rows import EvaluationRow, read_rows
from trainer.evaluation.sides import incumbent_of, side_of

NEW, OLD = "acme/triage@1.1", "acme/triage@1.0"
HELLO = EvaluationRow(1, "", "hello", None, {})
Judge = Callable[..., Evaluation]


@pytest.fixture
def judge(court: Court) -> Judge:
    registry = court.stack.house.registry

    def compared(data: Path, *metrics: str, slices: tuple[str, ...] = (), against: str = "production") -> Evaluation:
        candidate = registry.adapters.get(parse_ref(NEW))
        named = tuple(map(metric_named, metrics or ("label_exact",)))
        sides = side_of(candidate), incumbent_of(registry, candidate, against, required=True)
        wanted = Wanted(*sides, read_rows(data, 500), named, slices, TOKENS)
        with nullcontext(court.stack.house.keys["acme+base"]) as key, asker(gateway_at(court.stack.url, key)) as ask:
            return compare(wanted, ask)

    return compared


def item(found: Evaluation, metric: str) -> Item:
    return next(one for one in found.items if one.metric == metric)


def test_a_candidate_that_is_right_where_the_incumbent_is_wrong_is_better(court: Court, judge: Judge) -> None:
    one = item(judge(court.rows("mostly new", [NEW] * 18 + [OLD] * 6)), "label_exact")
    assert (one.candidate, one.incumbent, one.improvement) == (0.75, 0.25, 0.5)
    assert one.low is not None
    assert one.low > 0
    assert one.word == "better"
    assert one.p == pytest.approx(0.0227, abs=1e-4)


def test_a_difference_that_chance_explains_is_not_called_one(court: Court, judge: Judge) -> None:
    one = item(judge(court.rows("a draw", [NEW] * 9 + [OLD] * 7)), "label_exact")
    assert one.improvement == pytest.approx(0.125)
    assert one.word == "undecided"


def test_five_rows_out_of_five_are_too_few_to_tell(court: Court, judge: Judge) -> None:
    one = item(judge(court.rows("five", [NEW] * 5)), "label_exact")
    assert (one.candidate, one.incumbent, one.p) == (1.0, 0.0, 0.0625)
    assert (one.low, one.word) == (0.0, "undecided")


def test_what_is_worse_is_called_worse_and_the_lost_rows_are_shown(court: Court, judge: Judge) -> None:
    found = judge(court.rows("worse", [OLD] * 12))
    assert item(found, "label_exact").word == "worse"
    lost = found.lost[0]
    assert (lost.line, lost.expected) == (1, lost.incumbent)
    assert lost.candidate != lost.expected


def test_the_base_is_asked_when_it_is_what_to_compare_with(court: Court, judge: Judge) -> None:
    found = judge(court.rows("base", ["tiny"] * 12), against="base")
    assert (found.incumbent.model, found.incumbent.digest) == ("tiny", None)
    assert item(found, "label_exact").word == "worse"


def test_loss_and_perplexity_are_the_served_models_own(court: Court, judge: Judge) -> None:
    found = judge(court.rows("loss", [NEW] * 24), "loss", "perplexity")
    loss = item(found, "loss")
    assert loss.incumbent != loss.candidate
    assert loss.improvement == pytest.approx(loss.incumbent - loss.candidate)
    assert loss.low is not None
    assert loss.low < loss.improvement < (loss.high or 0)
    assert item(found, "perplexity").candidate == pytest.approx(2.718281828**loss.candidate)


def test_every_metric_has_a_line_or_a_reason(court: Court, judge: Judge) -> None:
    file = court.rows("metrics", [NEW] * 20)
    found = judge(file, "rouge_l", "macro_f1", "accuracy", "json_exact", "regex:.* .*")
    assert {one.metric for one in found.items} == {"rouge_l", "macro_f1", "accuracy", "json_exact", "regex:.* .*"}
    assert item(found, "rouge_l").candidate == 1.0
    assert item(found, "macro_f1").word == "better"
    assert item(found, "json_exact").word == "undecided"


def test_slices_are_by_a_field_the_length_or_the_label(court: Court, judge: Judge) -> None:
    found = judge(court.rows("slices", [NEW, OLD] * 6), slices=("topic", "length"))
    by = {(one.field, one.value): one.item for one in found.slices}
    assert by["topic", "parcel"].improvement == 1.0
    assert by["topic", "invoice"].improvement == -1.0
    assert len([one for one in found.slices if one.field == "length"]) == 2


def test_a_slice_that_no_row_has_is_refused_with_those_that_there_are(court: Court, judge: Judge) -> None:
    with pytest.raises(EvaluationError, match=r"choose from topic, length, label"):
        judge(court.rows("no slice", [NEW] * 2), slices=("colour",))


def test_two_rows_are_too_few_for_an_interval_of_labels(court: Court, judge: Judge) -> None:
    found = judge(court.rows("two", [NEW] * 2), "label_exact", "macro_f1")
    assert found.not_measured == {}
    assert (item(found, "macro_f1").low, item(found, "macro_f1").word) == (None, "too_few_units")


def test_an_engine_without_log_probabilities_of_prompts_says_why(stack: Stack) -> None:
    with (
        asker(gateway_at(stack.url, stack.house.keys["acme"])) as ask,
        pytest.raises(NoLikelihood, match="SWITCHYARD_ENGINE_PROMPT_LOGPROBS"),
    ):
        ask.likelihood(OLD, HELLO, "an answer")


def test_who_does_not_answer_is_told_in_the_gateways_words(court: Court) -> None:
    with (
        asker(gateway_at(court.stack.url, "sk-wrong")) as ask,
        pytest.raises(EndpointError, match=r"acme/triage@1.1 does not answer at .*/v1/completions \(HTTP 401\): "),
    ):
        ask.answer(NEW, HELLO, 1)


def test_an_address_without_a_gateway_is_told_with_the_remedy() -> None:
    with (
        asker(gateway_at("http://127.0.0.1:9", "sk-x")) as ask,
        pytest.raises(EndpointError, match=r"nothing answers at .* start a gateway"),
    ):
        ask.answer(NEW, HELLO, 1)
