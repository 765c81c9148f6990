"""The two error trees are as their docstrings draw them."""

from __future__ import annotations

import re
from typing import TypeVar

import orjson
import pytest

import gateway.errors
import registry.errors
from gateway.api.dialects import DIALECTS
from gateway.errors import ApiError, BadRequest, ModelNotFound
from registry.errors import AdapterRefused, Finding, InvalidInput, RegistryError

Root = TypeVar("Root")
FINDING = Finding("shape_mismatch", "adapter_model.safetensors", "4×16", "4×32", "q_proj.lora_A")


def below(root: type[Root]) -> list[type[Root]]:
    """Every class of the tree but its root; classes that other modules derive for their own use are not of the tree."""
    found = [kind for kind in root.__subclasses__() if kind.__module__ == root.__module__]
    return [*found, *(deeper for kind in found for deeper in below(kind))]


def test_the_registry_raises_the_errors_that_its_docstring_draws() -> None:
    drawn = re.findall(r"[├└]── (\w+)", registry.errors.__doc__ or "")
    assert sorted(drawn) == sorted(kind.__name__ for kind in below(RegistryError))


def test_the_gateway_answers_with_the_errors_and_statuses_that_its_docstring_draws() -> None:
    drawn = re.findall(r"[├└]── (\w+) +(\d{3}) +(\w+)", gateway.errors.__doc__ or "")
    assert sorted(drawn) == sorted((kind.__name__, str(kind.status), kind.type) for kind in below(ApiError))


def test_an_error_carries_its_sentence_and_the_field_at_fault() -> None:
    error = InvalidInput("rank is 4096; expected at most 16", param="rank")
    assert (str(error), error.message, error.param) == (error.message, "rank is 4096; expected at most 16", "rank")


def test_a_finding_reads_as_a_sentence_and_as_fields() -> None:
    assert str(FINDING) == ("[shape_mismatch] adapter_model.safetensors: q_proj.lora_A: found 4×16; expected 4×32")
    assert str(Finding("missing", "a.json", "nothing", "a file")) == "[missing] a.json: found nothing; expected a file"
    assert FINDING.as_dict() == {
        "code": "shape_mismatch",
        "file": "adapter_model.safetensors",
        "found": "4×16",
        "expected": "4×32",
        "tensor": "q_proj.lora_A",
    }


@pytest.mark.parametrize(("count", "ending"), [(1, "expected 4×32"), (3, "(and 2 more)")])
def test_a_refusal_keeps_every_finding_and_shows_the_first(count: int, ending: str) -> None:
    refused = AdapterRefused((FINDING,) * count)
    assert refused.findings == (FINDING,) * count
    assert refused.message.startswith("adapter refused: [shape_mismatch]")
    assert refused.message.endswith(ending)


def test_an_answer_is_openais_envelope_and_a_broken_stream_ends_with_the_same() -> None:
    error = ModelNotFound("x" * 1000)
    envelope = orjson.loads(error.envelope())
    assert envelope["error"]["code"] == "model_not_found"
    assert envelope["error"]["param"] == "model"
    assert len(envelope["error"]["message"]) < 400
    assert DIALECTS["chat"].error_event(error) == b"data: " + error.envelope() + b"\n\ndata: [DONE]\n\n"


def test_an_error_is_told_in_the_clients_terms() -> None:
    terms = {"max_completion_tokens": "max_output_tokens", "max_output_tokens": "wrong"}
    error = BadRequest("It's 'max_completion_tokens' that 'min_tokens' exceeds.", param="max_completion_tokens")
    error.in_terms_of(lambda field: terms.get(field, field))
    assert (error.message, error.param) == (
        "It's 'max_output_tokens' that 'min_tokens' exceeds.",
        "max_output_tokens",
    )
