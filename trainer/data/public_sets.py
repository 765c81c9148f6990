"""Rows in the forms of well-known public sets, rewritten in one of ours: what `switchyard data convert` reads besides.

Only forms are looked at here: a rewritten row is checked as any other. Keys that say what a row is about (`id`,
`category`, `lang`) are left behind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from trainer.data.lines import Line, Lines

PublicSet = Literal["Alpaca", "ShareGPT", "Dolly", "FLAN", "OpenAssistant"]
Row = Mapping[str, Any]
TELLING: dict[PublicSet, frozenset[str]] = {
    "Alpaca": frozenset({"instruction", "output", "text"}),
    "ShareGPT": frozenset({"conversations"}),
    "Dolly": frozenset({"instruction", "response"}),
    "FLAN": frozenset({"inputs", "targets"}),
    "OpenAssistant": frozenset({"message_id", "role", "text"}),
}
"""Keys that together tell a form; no row of ours has them."""
TREE = frozenset({"message_tree_id", "prompt"})
"""Keys of a row that is a whole tree of OpenAssistant's messages, each with its `replies`."""
ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "prompter": "user"}
"""Of turns, where they are not called as OpenAI calls them."""


def public_set_of(row: Row, *, others: bool = False) -> PublicSet | None:
    """In which set's form a row is, if it is in one's. `others`: an instruction of ours may have a `text` too."""
    if row.keys() >= TREE and isinstance(row["prompt"], dict):
        return "OpenAssistant"
    found = next((name for name, keys in TELLING.items() if keys <= row.keys()), None)
    return None if others and found == "Alpaca" else found


def adopted(read: Lines) -> Lines:
    """The rows of a file with each that is in such a form rewritten. Of OpenAssistant's messages a tree is a chat, on
    the line of its first message.
    """
    trees = [
        Line(line.number, message)
        for line in read.lines
        if public_set_of(line.row) == "OpenAssistant"
        for message in _messages(line.row)
    ]
    others = [
        Line(line.number, REWRITTEN[name](line.row)) if (name := public_set_of(line.row)) in REWRITTEN else line
        for line in read.lines
        if public_set_of(line.row) != "OpenAssistant"
    ]
    kept = sorted([*others, *_chats(trees)], key=lambda line: line.number)
    return replace(read, lines=tuple(kept), rows=read.rows - len(read.lines) + len(kept))


def _messages(row: Row) -> Iterator[dict[str, Any]]:
    """Of OpenAssistant: the message that the row is, or those of its tree, each with the id of the one it answers."""
    if not row.keys() >= TREE:
        yield dict(row)
        return
    waiting: list[tuple[Any, Any]] = [(row["prompt"], None)]
    while waiting:
        message, parent = waiting.pop(0)
        if not isinstance(message, dict) or not TELLING["OpenAssistant"] <= message.keys():
            continue
        yield {**message, "parent_id": parent}
        replies = message.get("replies")
        waiting += [(reply, message["message_id"]) for reply in replies] if isinstance(replies, list) else []


def _alpaca(row: Row) -> dict[str, Any]:
    """Its `text` is the others once more, in a template."""
    return {key: value for key, value in row.items() if key != "text"}


def _sharegpt(row: Row) -> dict[str, Any]:
    turns, system = row["conversations"], row.get("system")
    before = [{"role": "system", "content": system}] if system else []
    if not isinstance(turns, list):
        return {"messages": turns}
    return {"messages": [*before, *(_turn(turn, "from", "value") for turn in turns)]}


def _turn(turn: Any, role: str, content: str) -> Any:
    """What is no turn stays what it is, for whoever checks it."""
    if not isinstance(turn, dict):
        return turn
    said = turn.get(role)
    return {"role": ROLES.get(said, said) if isinstance(said, str) else said, "content": turn.get(content)}


def _dolly(row: Row) -> dict[str, Any]:
    return {"instruction": row["instruction"], "input": row.get("context") or "", "output": row["response"]}


def _flan(row: Row) -> dict[str, Any]:
    return {"instruction": row["inputs"], "input": "", "output": row["targets"]}


REWRITTEN: dict[PublicSet | None, Callable[[Row], dict[str, Any]]] = {
    "Alpaca": _alpaca,
    "ShareGPT": _sharegpt,
    "Dolly": _dolly,
    "FLAN": _flan,
}


def _chats(messages: Iterable[Line]) -> Iterator[Line]:
    """A chat for each message that answers none: from there the best answer, the best question after it, and so on."""
    answers: defaultdict[str, list[Row]] = defaultdict(list)
    first = []
    for line in messages:
        if line.row.get("deleted"):
            continue
        if line.row.get("parent_id") is None:
            first.append(line)
        else:
            answers[str(line.row["parent_id"])].append(line.row)
    for line in first:
        path: list[Row] = [line.row]
        while following := answers.pop(str(path[-1]["message_id"]), None):
            path.append(min(following, key=_rank))
        while len(path) > 1 and path[-1]["role"] == "prompter":  # a question that nobody has answered
            path.pop()
        yield Line(line.number, {"messages": [_turn(one, "role", "text") for one in path]})


def _rank(message: Row) -> float:
    """0 is the best; of those that nobody has ranked, the first."""
    rank = message.get("rank")
    return float(rank) if isinstance(rank, int | float) else float("inf")
