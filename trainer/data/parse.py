"""Rows of each form as examples or pairs, or as faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainer.data.faults import Fault
from trainer.data.formats import KEYS, ORIGIN, RowFormat, key_faults
from trainer.data.functions import with_tools
from trainer.data.lines import kind, shown
from trainer.data.rows import Example, Message, Origin, Preference
from trainer.data.tools import calls_faults, tools_faults, tools_text
from trainer.data.turns import content_faults, dialogue_fault, is_learnt, messages_faults, turns_of

MAX_ORIGIN_CHARACTERS = 500
KINDS = ("synthetic", "paraphrase", "comparison")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one row gives: examples (of a pair, the chosen answer's), or faults."""

    examples: tuple[Example, ...] = ()
    preference: Preference | None = None
    origin: Origin | None = None
    faults: tuple[Fault, ...] = ()


def parse(number: int, row: dict[str, Any], name: RowFormat, *, others: bool = False) -> Parsed:
    """One row of that form. `others`: it may have other fields, which nothing is learnt of."""
    row = with_tools(row) if name == "chat" else row
    found = PARSERS[name](number, row)
    faults = [*key_faults(number, row, name, others=others), *found.faults, *_origin_faults(number, row.get(ORIGIN))]
    if faults:
        return Parsed(faults=tuple(faults))
    return Parsed(found.examples, found.preference, origin_of(row))


def origin_of(row: dict[str, Any]) -> Origin | None:
    """Who wrote a row without faults; None: a person."""
    given = row.get(ORIGIN)
    if given is None:
        return None
    known = {key: given.get(key, "") for key in ("kind", "model", "of")}
    return Origin(**known, extra={key: value for key, value in given.items() if key not in known})


def _origin_faults(number: int, origin: Any) -> list[Fault]:
    if origin is None:
        return []
    texts = origin.values() if isinstance(origin, dict) else ()
    fits = all(isinstance(text, str) and len(text) <= MAX_ORIGIN_CHARACTERS for text in texts)
    if not isinstance(origin, dict) or origin.get("kind") not in KINDS or not fits:
        text = f"'origin' must be an object of short strings whose 'kind' is one of {', '.join(KINDS)}; correct it"
        return [Fault(number, "data_type", text)]
    return []


def _strings(number: int, row: dict[str, Any], *names: str) -> list[Fault]:
    faults: list[Fault] = []
    for name in names:
        if name not in row:
            faults.append(Fault(number, f"missing_{name}", f"key {name!r} is missing; add it"))
        elif not isinstance(row[name], str):
            faults.append(Fault(number, "data_type", f"{name!r} is {kind(row[name])}; it must be a string"))
        else:
            faults.extend(content_faults(number, repr(name), row[name]))
    return faults


def _completion(number: int, row: dict[str, Any]) -> Parsed:
    faults = _strings(number, row, "prompt", "completion")
    if faults:
        return Parsed(faults=tuple(faults))
    return Parsed((Example(number, row["prompt"], row["completion"]),))


def _instruction(number: int, row: dict[str, Any]) -> Parsed:
    faults = _strings(number, row, "instruction", "output")
    given = row.get("input")
    if isinstance(given, str) and given.strip():
        faults += content_faults(number, "'input'", given)
    elif not isinstance(given, str | None):
        faults.append(Fault(number, "data_type", f"'input' is {kind(given)}; it must be a string"))
    if faults:
        return Parsed(faults=tuple(faults))
    asked = f"{row['instruction']}\n\n{given}" if given and given.strip() else row["instruction"]
    return Parsed((Example(number, (Message("user", asked),), row["output"]),))


def _chat(number: int, row: dict[str, Any]) -> Parsed:
    messages, tools = row.get("messages"), row.get("tools")
    faults = messages_faults(number, "messages", messages)
    faults += tools_faults(number, tools) if tools is not None else []
    if faults:
        return Parsed(faults=tuple(faults))
    assert isinstance(messages, list)
    turns = turns_of(messages)
    wrong = dialogue_fault(number, turns)
    faults = [wrong] if wrong else calls_faults(number, turns, row)
    offered = tools_text(tools)
    examples = tuple(
        Example(number, turns[:index], turn.content, turn.tool_calls, offered)
        for index, turn in enumerate(turns)
        if is_learnt(messages[index])
    )
    if not examples and not faults:
        text = "no assistant message with weight 1, so nothing would be learnt; add the answer"
        faults = [Fault(number, "example_missing_assistant_message", text)]
    return Parsed(() if faults else examples, faults=tuple(faults))


SIDES = ("preferred_output", "non_preferred_output")


def _preference(number: int, row: dict[str, Any]) -> Parsed:
    """OpenAI's form as it is, the other one after it has been written in it."""
    theirs = row if "preferred_output" in row or "non_preferred_output" in row else _in_openai_form(row)
    given = theirs.get("input")
    source = given if isinstance(given, dict) else {"messages": given}
    if source.get("messages") is None:
        return Parsed(
            faults=(Fault(number, "missing_prompt", "there is no prompt; add the messages before the answers"),)
        )
    faults = [
        *messages_faults(number, "prompt" if theirs is not row else "input.messages", source.get("messages")),
        *(tools_faults(number, source["tools"]) if source.get("tools") is not None else []),
        *(fault for side in SIDES for fault in _side_faults(number, side, row, theirs)),
    ]
    fields = given.items() if isinstance(given, dict) else ()
    if unknown := sorted(key for key, value in fields if value is not None and key not in KEYS["chat"]):
        faults.append(Fault(number, "unrecognized_key", f"input has the unknown key {shown(unknown[0])}; remove it"))
    if faults:
        return Parsed(faults=tuple(faults))
    prompt, tools = turns_of(source.get("messages") or []), source.get("tools")
    chosen, rejected = (turns_of(theirs[side])[0] for side in SIDES)
    wrong = dialogue_fault(number, prompt)
    faults = [wrong] if wrong else calls_faults(number, (*prompt, chosen), source)
    if prompt[-1].role not in ("user", "tool"):
        text = f"the prompt ends with a turn of the {prompt[-1].role}; the last turn must be a user's or a tool's"
        faults.append(Fault(number, "missing_prompt", text))
    if chosen.text.strip() == rejected.text.strip():
        text = "both answers are the same, so there is nothing to prefer; correct one of them or remove the row"
        faults.append(Fault(number, "same_answers", text))
    if faults:
        return Parsed(faults=tuple(faults))
    pair = Preference(number, prompt, chosen, rejected, tools_text(tools))
    return Parsed((pair.pair[0],), pair)


OURS = {"preferred_output": "chosen", "non_preferred_output": "rejected"}


def _side_faults(number: int, side: str, row: dict[str, Any], theirs: dict[str, Any]) -> list[Fault]:
    name = side if theirs is row else OURS[side]
    if side not in theirs:
        return [Fault(number, f"missing_{name}", f"key {name!r} is missing; add it")]
    answer = theirs[side]
    faults = messages_faults(number, name, answer)
    if not faults and (len(answer) != 1 or answer[0]["role"] != "assistant"):
        faults = [Fault(number, "data_type", f"{name!r} must be one message of the assistant's; correct it")]
    return faults


def _in_openai_form(row: dict[str, Any]) -> dict[str, Any]:
    """`prompt` may be a text or messages; answers a text, or messages that begin with what was said before."""
    prompt = row.get("prompt")
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    written: dict[str, Any] = {
        side: [{"role": "assistant", "content": row[name]}] if isinstance(row[name], str) else row[name]
        for side, name in OURS.items()
        if name in row
    }
    begins = [answer[:-1] for answer in written.values() if isinstance(answer, list)]
    if len(begins) == 2 and begins[0] and begins[0] == begins[1] and (not messages or messages == begins[0][-1:]):
        messages = begins[0]
        written = {side: answer[-1:] for side, answer in written.items()}
    return {"input": {"messages": messages}, **written}


PARSERS: dict[RowFormat, Callable[[int, dict[str, Any]], Parsed]] = {
    "chat": _chat,
    "completion": _completion,
    "instruction": _instruction,
    "preference": _preference,
}
