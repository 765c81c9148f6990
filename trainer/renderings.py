"""Takes down how a base's own chat template renders the conversations of `registry.bases.renderings`."""

from __future__ import annotations

import datetime
from typing import Any

from registry.bases.renderings import CONVERSATIONS, TEMPLATE_ARGUMENTS, Rendering


def take_renderings(tokenizer: Any) -> tuple[Rendering, ...]:
    """One for each conversation that the template can render; none for a base without a template.

    A template that refuses a conversation (some know no system role) is asked for the others. One that prints today's
    date whatever it is told can be compared with nothing, and gives none.
    """
    if not tokenizer.chat_template:
        return ()
    found = []
    for conversation in CONVERSATIONS:
        try:
            text = tokenizer.apply_chat_template(
                conversation.messages(),
                tokenize=False,
                add_generation_prompt=conversation.generates,
                **TEMPLATE_ARGUMENTS,
            )
        except Exception:  # noqa: S112 - templates raise what they like, jinja2's own errors among it
            continue
        if datetime.date.today().strftime("%b %Y") in text or datetime.date.today().isoformat() in text:
            return ()
        token_ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        found.append(Rendering(conversation, token_ids))
    return tuple(found)
