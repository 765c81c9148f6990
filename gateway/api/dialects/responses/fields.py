"""Every field of a response that clients may send. Those of sampling are a chat's."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.dialects.responses.input import items
from gateway.api.dialects.responses.options import (
    VERBOSITY,
    conversation,
    include,
    reasoning,
    text_options,
    tool_choice,
    tools,
)
from gateway.api.fields.checks import MAX_TOKEN_ID, Check, flag, integer, one_of, text
from gateway.api.fields.shapes import documents, template_kwargs
from gateway.api.fields.table import HINTS, SAMPLING

NOT_OF_RESPONSES = frozenset(
    {
        *("n", "response_format", "echo", "prompt_logprobs", "logprob_token_ids"),
        *("return_token_ids", "return_tokens_as_token_ids"),
    }
)
"""What chats are asked for, and no response can have or say."""

FORWARDED: Mapping[str, Check] = {
    **{name: check for name, check in SAMPLING.items() if name not in NOT_OF_RESPONSES},
    "input": items,
    "instructions": text(2**31),  # bounded by the body
    "max_output_tokens": integer(1, MAX_TOKEN_ID),
    "text": text_options,
    "tools": tools,
    "tool_choice": tool_choice,
    "parallel_tool_calls": flag,
    "reasoning": reasoning,
    "include_reasoning": flag,
    "include": include,
    "top_logprobs": integer(0, lambda caps: caps.max_logprobs),
    "truncation": one_of("auto", "disabled"),
    "documents": documents,
    "chat_template_kwargs": template_kwargs,
}
NOT_FORWARDED: Mapping[str, Check] = {
    **HINTS,
    "conversation": conversation,
    "background": flag,
    "max_tool_calls": integer(1, MAX_TOKEN_ID),  # of tools that run at the vendor's; none run here
    "verbosity": VERBOSITY,  # as `parse` of the official client sends it
}
REFUSED: Mapping[str, str] = {
    "messages": "Send 'input' instead.",
    "max_tokens": "Send 'max_output_tokens' instead.",
    "max_completion_tokens": "Send 'max_output_tokens' instead.",
    "n": "One response has one answer; send the request again for another.",
    "response_format": "Send 'text': {\"format\": …} instead.",
    "reasoning_effort": "Send 'reasoning': {\"effort\": …} instead.",
    "logprobs": "Send 'include': [\"message.output_text.logprobs\"] and 'top_logprobs' instead.",
    "modalities": "Answers are text; remove it.",
    "add_generation_prompt": "Send the items of the conversation alone.",
    "continue_final_message": "An answer goes on from a last message whose 'status' is 'incomplete'.",
    "echo": "Use /v1/completions to score a prompt.",
    "prompt_logprobs": "Use /v1/completions to score a prompt.",
    "logprob_token_ids": "Use /v1/chat/completions for it.",
    "return_token_ids": "Use /v1/chat/completions for it.",
    "return_tokens_as_token_ids": "Use /v1/chat/completions for it.",
    "prompt": "No prompts are kept here; send 'instructions' and 'input'.",
    "context_management": "Conversations are not compacted; send fewer items, or 'truncation': \"auto\".",
    "image": "This model reads text only; remove it.",
    "access_programs": "Remove it.",
    "background_options": "Remove it: an answer in the background is begun at once.",
    "enable_response_messages": "Remove it: it shows the operator's chat template.",
    "previous_input_messages": "Send the items of the conversation as 'input'.",
}
