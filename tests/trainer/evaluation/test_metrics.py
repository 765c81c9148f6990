from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.errors import EvaluationError
from trainer.evaluation.metrics import json_exact, label_exact, label_of, metric_named, rouge_l


def test_json_exact_compares_values_not_text() -> None:
    assert json_exact(' {"b": 2, "a": 1}\n', '{"a":1,"b":2}')
    assert not json_exact('{"a":1}', '{"a":1,"b":2}')
    assert not json_exact('{"a":1} and more', '{"a":1}')
    assert not json_exact("", '{"a":1}')
    assert not json_exact("[" * 100_000, '{"a":1}')


def test_label_exact_ignores_outer_blanks_only() -> None:
    assert label_exact(" heron\n", "heron")
    assert not label_exact("herons", "heron")
    assert not label_exact("Heron", "heron")


def test_rouge_l_is_of_the_longest_common_subsequence_of_words() -> None:
    # Lin 2004, section 3.1: "police kill the gunman" and "the gunman kill police" of "police killed the gunman"
    assert rouge_l("police kill the gunman", "police killed the gunman") == 0.75
    assert rouge_l("the gunman kill police", "police killed the gunman") == 0.5
    assert rouge_l("", "") == 1.0
    assert rouge_l("", "word") == 0.0


def test_rouge_l_knows_scripts_without_blanks() -> None:
    assert rouge_l("今天天气好", "今天天气很好") == pytest.approx(10 / 11)
    assert rouge_l("שלום עולם", "שלום לכולם עולם") == pytest.approx(4 / 5)


def test_a_schema_is_followed_or_not(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(
        json.dumps({"type": "object", "required": ["queue"], "properties": {"queue": {"enum": ["a", "b"]}}})
    )
    score = metric_named(f"json_schema:{file}").score
    assert score is not None
    assert [score(answer, "") for answer in ('{"queue": "a"}', '{"queue": "c"}', "no json", "[" * 100_000)] == [
        1,
        0,
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("json_schema:/nowhere.json", "is no JSON file"),
        ("json_schema:", "is no JSON file"),
        ("regex:[", "no regular expression"),
        ("regex:", "1 to 1000 characters"),
        ("exact", "choose from label_exact, json_exact"),
    ],
)
def test_a_metric_that_there_is_not_is_refused_with_those_that_there_are(name: str, told: str) -> None:
    with pytest.raises(EvaluationError, match=told):
        metric_named(name)


def test_a_file_that_is_no_schema_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text('{"type": "nonsense"}')
    with pytest.raises(EvaluationError, match="is no JSON schema"):
        metric_named(f"json_schema:{file}")


def test_labels_are_the_same_without_case_and_full_stop() -> None:
    assert label_of(" Billing.\n") == label_of("billing")
