"""Every field that an official client can send is in a table of its dialect: a new release of one that learns another
fails here, and somebody decides what becomes of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import anthropic.types as anthropic_types
import pytest
from anthropic.resources.beta.messages import Messages as BetaMessages
from anthropic.resources.messages import Messages
from anthropic.types.beta import message_count_tokens_params as beta_count_params
from anthropic.types.beta import message_create_params as beta_message_params
from openai.resources.chat.completions import Completions as Chats
from openai.resources.completions import Completions
from openai.resources.embeddings import Embeddings
from openai.resources.responses import InputTokens, Responses
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_params
from openai.types.fine_tuning.job_create_params import JobCreateParams
from openai.types.responses import input_token_count_params, response_create_params

from gateway.api.dialects import DIALECTS
from gateway.api.fields.table import RESERVED, UNSUPPORTED
from gateway.training.body import FIELDS

OF_THE_CLIENT = frozenset({"self", "extra_headers", "extra_query", "extra_body", "timeout"})
"""Arguments of a method that are no fields."""
IN_HEADERS = frozenset({"betas", "user_profile_id", "workspace_id"})
"""Arguments that clients send as headers."""
TYPES: Mapping[str, tuple[Any, ...]] = {
    "chat": (chat_params.CompletionCreateParamsStreaming, chat_params.CompletionCreateParamsNonStreaming),
    "completions": (completion_create_params.CompletionCreateParamsStreaming,),
    "embeddings": (embedding_create_params.EmbeddingCreateParams,),
    "responses": (response_create_params.ResponseCreateParamsStreaming,),
    "input_tokens": (input_token_count_params.InputTokenCountParams,),
    "messages": (
        anthropic_types.message_create_params.MessageCreateParamsStreaming,
        beta_message_params.MessageCreateParamsStreaming,
    ),
    "count_tokens": (
        anthropic_types.message_count_tokens_params.MessageCountTokensParams,
        beta_count_params.MessageCountTokensParams,
    ),
}
"""What each client says a body is."""
METHODS: Mapping[str, tuple[Callable[..., Any], ...]] = {
    "chat": (Chats.create, Chats.parse, Chats.stream),
    "completions": (Completions.create,),
    "embeddings": (Embeddings.create,),
    "responses": (Responses.create, Responses.parse),
    "input_tokens": (InputTokens.count,),
    "messages": (Messages.create, Messages.stream, BetaMessages.create),
    "count_tokens": (Messages.count_tokens, BetaMessages.count_tokens),
}
"""What people call."""
OF_NO_CLIENT = frozenset({"tokenize", "detokenize", "score", "rerank"})
"""Dialects that no official client speaks."""
SERVED = sorted(TYPES.keys() & DIALECTS.keys())


def tabled(name: str) -> set[str]:
    dialect = DIALECTS[name]
    return {*dialect.known(), *dialect.refused, *UNSUPPORTED, *RESERVED}


def test_every_dialect_has_an_official_client_or_is_known_to_have_none() -> None:
    assert DIALECTS.keys() - OF_NO_CLIENT <= TYPES.keys() == METHODS.keys()


@pytest.mark.parametrize("name", SERVED)
def test_every_field_of_the_official_clients_types_is_in_a_table(name: str) -> None:
    fields = {field for body in TYPES[name] for field in (*body.__required_keys__, *body.__optional_keys__)}
    assert "model" in fields
    assert fields - IN_HEADERS - tabled(name) == set()


@pytest.mark.parametrize("name", SERVED)
def test_every_argument_of_the_official_clients_methods_is_in_a_table(name: str) -> None:
    helpers = {"text_format", "output_format", "parse_as"}  # classes, of which the client makes fields of its types
    arguments = {argument for method in METHODS[name] for argument in inspect.signature(method).parameters}
    assert "model" in arguments
    assert arguments - OF_THE_CLIENT - IN_HEADERS - helpers - tabled(name) == set()


def test_every_field_of_a_fine_tuning_job_is_known() -> None:
    assert {"switchyard", *JobCreateParams.__annotations__} == FIELDS
