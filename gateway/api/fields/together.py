"""The rules between fields. Each belongs to a field, and runs only for a body that gives it (null counts as absent).

A rule takes the parsed body, of which every field has passed its own check, and raises `BadRequest`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import shown
from gateway.api.fields.compiled import compiled_tools
from gateway.api.fields.grammar_cost import affordable
from gateway.api.fields.needs import scored_alternatives
from gateway.api.fields.prompt import count_of
from gateway.errors import BadRequest

Given = Mapping[str, Any]
Rule = Callable[[Given, Caps], None]

UNBOUNDED_TOKENS = 16_384
"""What an answer without a bound is taken for."""


def _refuse(message: str, param: str) -> BadRequest:
    return BadRequest(message, param=param, code="invalid_value")


def one_limit(given: Given, caps: Caps) -> None:
    """The two names of one bound say the same."""
    newer = given.get("max_completion_tokens")
    if newer is not None and newer != given["max_tokens"]:
        raise _refuse(
            f"'max_tokens' is {given['max_tokens']} and 'max_completion_tokens' is {newer}. Send one.", "max_tokens"
        )


def nothing_only_with_echo(param: str) -> Rule:
    """An answer of no tokens is asked for to score the prompt, which comes with `echo`."""

    def rule(given: Given, caps: Caps) -> None:
        if given[param] == 0 and not given.get("echo"):
            raise _refuse(f"'{param}' must be at least 1, unless 'echo' is true.", param)

    return rule


def min_below_max(default: int | None) -> Rule:
    """`default` bounds an answer for which no bound is named."""

    def rule(given: Given, caps: Caps) -> None:
        limits = (given.get("max_completion_tokens"), given.get("max_tokens"), default)
        most = next((limit for limit in limits if limit is not None), None)
        if most is not None and given["min_tokens"] > most:
            raise _refuse(f"'min_tokens' is {given['min_tokens']}; 'max_tokens' is {most}.", "min_tokens")

    return rule


def not_too_many_choices(given: Given, caps: Caps) -> None:
    """All answers to all prompts of one request."""
    choices = count_of(given["prompt"]) * (given.get("n") or 1)
    if choices > caps.max_choices:
        raise _refuse(f"'n' × the number of prompts is {choices}; the most is {caps.max_choices}.", "n")


def best_is_all(given: Given, caps: Caps) -> None:
    """Only as many answers are made as are returned."""
    if given["best_of"] != (given.get("n") or 1):
        raise _refuse("'best_of' must equal 'n': candidates that are not returned are not generated.", "best_of")


def needs_logprobs(param: str) -> Rule:
    """What says which log-probabilities says nothing where none are asked for."""

    def rule(given: Given, caps: Caps) -> None:
        logprobs = given.get("logprobs")
        if given[param] and (logprobs is None or logprobs is False):
            raise _refuse(f"'{param}' needs 'logprobs'.", param)

    return rule


def not_too_many(param: str, default: int) -> Rule:
    """An answer that is not streamed is held whole, here and in the engine."""

    def rule(given: Given, caps: Caps) -> None:
        tokens = given.get("max_completion_tokens") or given.get("max_tokens") or default
        answers = (given.get("n") or 1) * (count_of(given["prompt"]) if "prompt" in given else 1)
        entries = answers * tokens * (given[param] + 1)
        if entries > caps.max_logprob_entries and not given.get("stream"):
            raise _refuse(
                f"{answers} answers of up to {tokens} tokens have {entries} log-probabilities with '{param}' "
                f"{given[param]}; the most is {caps.max_logprob_entries}. Stream, or ask for fewer or shorter answers.",
                param,
            )

    return rule


def _prompt_not_too_long_to_score(param: str) -> Rule:
    """Log-probabilities of a prompt are held whole by the engine, streamed or not; a token has a character at least."""

    def rule(given: Given, caps: Caps) -> None:
        alternatives = scored_alternatives(given)
        if alternatives is None:
            return
        tokens = _prompt_size(given) * (given.get("n") or 1)
        if tokens * (alternatives + 1) > caps.max_logprob_entries:
            raise _refuse(
                f"'{param}' asks for log-probabilities of a prompt of up to {tokens} tokens, with {alternatives} "
                f"alternatives each; the most is {caps.max_logprob_entries} in all. Send fewer or shorter prompts.",
                param,
            )

    return rule


def _prompt_size(given: Given) -> int:
    """Characters, or tokens where the client has counted them."""
    if "messages" in given:
        return sum(_text_size(message.get("content") or "") for message in given["messages"])
    prompt = given["prompt"]
    return len(prompt) if type(prompt) is str or type(prompt[0]) is int else sum(map(len, prompt))


def _text_size(content: str | list[dict[str, Any]]) -> int:
    if isinstance(content, str):
        return len(content)
    return sum(len(part.get("text") or "") for part in content)


def _whole_only(given: Given, caps: Caps) -> None:
    if given.get("stream"):
        raise _refuse(
            "'prompt_logprobs' cannot be streamed. Send no 'stream', or 'echo' with 'logprobs'.", "prompt_logprobs"
        )


def only_in_a_stream(given: Given, caps: Caps) -> None:
    """What changes a stream needs one."""
    asked = [key for key, item in given["stream_options"].items() if item]
    if asked and not given.get("stream"):
        raise _refuse(f"'stream_options' ({', '.join(asked)}) needs 'stream' to be true.", "stream_options")


def _one_constraint(given: Given, caps: Caps) -> None:
    output = given.get("response_format")
    if output is not None and output["type"] != "text":
        raise _refuse("Send 'structured_outputs' or 'response_format', not both.", "structured_outputs")
    if type(given.get("tool_choice")) is dict:
        raise _refuse("Send 'structured_outputs' or a named 'tool_choice', not both.", "structured_outputs")


def _no_grammar_too(param: str) -> Rule:
    """vLLM's grammar and its token lists can leave no token at all, which it answers with a 500."""

    def rule(given: Given, caps: Caps) -> None:
        output = given.get("response_format")
        constrained = given.get("structured_outputs") is not None or (output is not None and output["type"] != "text")
        if given[param] and constrained:
            raise _refuse(f"'{param}' cannot be combined with 'structured_outputs' or 'response_format'.", param)

    return rule


def names_a_tool(given: Given, caps: Caps) -> None:
    """The chosen tool is one that is offered."""
    choice = given["tool_choice"]
    tools = given.get("tools")
    if choice in ("none", "auto"):
        return
    if not tools:
        raise _refuse(f"'tool_choice' {_chosen(choice)} needs 'tools'.", "tool_choice")
    if type(choice) is dict and choice["function"]["name"] not in [tool["function"]["name"] for tool in tools]:
        raise _refuse(f"'tool_choice' names {_chosen(choice)}, which 'tools' lacks.", "tool_choice")


def _chosen(choice: Any) -> str:
    return shown(choice["function"]["name"] if type(choice) is dict else choice)


def compiled_tools_are_affordable(given: Given, caps: Caps) -> None:
    """Schemas of tools that an engine makes a grammar of."""
    affordable([schema for _, schema in compiled_tools(given)], "tools", caps)


def no_new_turn(given: Given, caps: Caps) -> None:
    """Either the last message goes on, or a new one begins."""
    if given["continue_final_message"] and given.get("add_generation_prompt"):
        raise _refuse(
            "'continue_final_message' and 'add_generation_prompt' are both true. Send one.", "continue_final_message"
        )


SHARED: list[tuple[str, Rule]] = [
    ("stream_options", only_in_a_stream),
    ("echo", _prompt_not_too_long_to_score("echo")),
    ("prompt_logprobs", _prompt_not_too_long_to_score("prompt_logprobs")),
    ("prompt_logprobs", _whole_only),
    ("logprob_token_ids", needs_logprobs("logprob_token_ids")),
    ("structured_outputs", _one_constraint),
    *((param, _no_grammar_too(param)) for param in ("allowed_token_ids", "bad_words", "stop_token_ids")),
]
"""Of all dialects in which a model writes."""
