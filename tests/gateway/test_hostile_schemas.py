"""Forms that an adapter declares and that break the validator: they are refused, or cost its own answers alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.scoring.looking import Looking
from registry.errors import InvalidInput
from registry.outcomes.forms import AnswerChecks
from tests.gateway.test_scoring import document, tap_of


@pytest.fixture
def eye() -> Iterator[Looking]:
    looking = Looking()
    yield looking
    looking.close()


@pytest.mark.parametrize("schema", [{"$ref": "#/minimum", "minimum": 3}, {"$ref": "#/title", "title": "x"}])
def test_a_schema_that_refers_to_no_schema_costs_the_answers_of_others_nothing(
    eye: Looking, schema: dict[str, Any]
) -> None:
    hostile = tap_of(document("3"), checks=AnswerChecks(schema=schema).checked())
    looked = eye.look([hostile, tap_of(document("hi")), hostile])
    assert [one.unscored for one in looked] == ["not understood", None, "not understood"]


@pytest.mark.parametrize(
    ("checks", "named"),
    [
        (AnswerChecks(schema={"$schema": 3}), "schema is no JSON schema"),
        (AnswerChecks(schema={"pattern": "a{99999999999999999999}"}), "the repetition number is too large"),
        (AnswerChecks(schema={"pattern": "\ud800"}), "schema is no JSON schema"),
        (AnswerChecks(pattern="\ud800"), r"pattern is '\ud800', which is no regular expression"),
    ],
)
def test_what_the_validator_itself_breaks_on_is_refused(checks: AnswerChecks, named: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(named)):
        checks.checked()
