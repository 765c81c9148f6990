"""`switchyard adapters prove`: measures what a published adapter does to its base, and attaches that as its proof.

For adapters that somebody else trained. On texts of the adapter's own task the effect is largest; without any, general
ones of several kinds must do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.adapters.effect_proof import proof_bytes
from registry.adapters.version_rows import VersionInfo
from registry.errors import NotFound
from registry.names import AdapterRef
from registry.service import Registry
from trainer.data.encode import prompt_text
from trainer.data.faults import DataError, Fault
from trainer.data.lines import Line, read_lines, text_fault
from trainer.data.read import read_data
from trainer.data.rows import Example, Message
from trainer.effect import measure_effect, strongest_probes
from trainer.errors import BaseModelError
from trainer.probes import MAX_PROBE_TOKENS, ProbeRow, Text, distinct_texts

MAX_TEXTS = 24
"""Of a file; the first ones are used."""
PLAIN = (
    "The committee met on Tuesday to discuss the budget, and decided to postpone the vote until everybody had read it.",
    "def median(values):\n    ordered = sorted(values)\n    return ordered[len(ordered) // 2]\n",
    '{"id": 4711, "status": "open", "priority": "high", "tags": ["billing", "refund"]}',
    "Review: the battery lasts two days, but the screen scratches easily and support never answered. Verdict: mixed.",
    "Q: Which planet is the largest in the solar system?\nA: Jupiter.\n",
    "Guten Tag, ich möchte meine Bestellung stornieren, weil sie seit drei Wochen nicht angekommen ist.",
)
CHATS = (
    ("Summarise: the train was late, so we missed the ferry.", "They missed the ferry because the train was late."),
    ("I was charged twice for my order. What should I do?", "I am sorry. Please send me your order number."),
    ("Classify the sentiment: 'I love this phone.'", "positive"),
    ("Write a SQL query that counts users.", "SELECT COUNT(*) FROM users;"),
    ("Return the city as JSON: I live in Oslo.", '{"city": "Oslo"}'),
    ("What is 12 times 12?", "144"),
)
"""A user's turn and an answer each, rendered with the base's chat template when it has one."""

Say = Callable[[str], None]
Row = str | Example
"""A plain text, or a prompt and its answer."""


@dataclass(frozen=True, slots=True)
class Proving:
    """What was asked for. `base` is None to look for the base in the state folder, `texts` None for general ones."""

    ref: AdapterRef
    base: Path | None = None
    texts: Path | None = None


def prove(asked: Proving, registry: Registry, say: Say = lambda _: None) -> VersionInfo:
    """Measure the version on its base with PEFT and attach the proof; the result may be `indistinguishable`.

    Raises BaseModelError when the base's folder cannot be found, DataError for rows that are no texts, and what
    `Adapters.attach_proof` raises.
    """
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")  # AMX may be advertised and still fault
    version = registry.adapters.get(asked.ref)
    registry.adapters.require_provable(version)
    rows = read_texts(asked.texts) if asked.texts else None
    base_folder = find_base(registry, version, asked.base)
    say(f"loading the base model from {base_folder}")
    from peft import PeftModel

    from trainer.methods.loading import load_base

    base = load_base(base_folder)
    texts = encode_texts(base.tokenizer, rows or general_texts())
    say(f"measuring {version.name} on {len(texts)} texts")
    model = PeftModel.from_pretrained(base.model, registry.version_files.materialise(version.manifest_digest)).eval()
    probes = strongest_probes(measure_effect(model, texts))
    return registry.adapters.attach_proof(asked.ref, proof_bytes(probes))


def general_texts() -> list[Row]:
    """What any adapter may be tried on."""
    return [*PLAIN, *(Example(0, (Message("user", asked),), answer) for asked, answer in CHATS)]


def find_base(registry: Registry, version: VersionInfo, given: Path | None) -> Path:
    """The folder of the version's base: the one that was given, or one that is known here. Raises BaseModelError."""
    if given is None:
        known = registry.base_folder(version.base_digest)
        if known is not None:
            return known
    elif _holds(registry, given, version.base_digest):
        return given
    name = registry.bases.get(version.base_digest).name
    if given is not None:
        raise BaseModelError(f"{given} does not hold {name!r}, the base of {version.name}; give that model's folder")
    raise BaseModelError(
        f"the folder of {name!r}, the base of {version.name}, is not known; give it with --base FOLDER"
    )


def _holds(registry: Registry, folder: Path, base_digest: str) -> bool:
    try:
        return registry.bases.find(folder).digest == base_digest
    except NotFound:
        return False


def read_texts(file: Path) -> list[Row]:
    """Rows of one kind: `{"text"}`, or what the trainer trains on. DataError lists every fault."""
    read = read_lines(file)
    first = read.lines[0].row if read.lines else {}
    if "messages" in first:
        return list(read_data(file, "chat").examples[:MAX_TEXTS])
    if "text" not in first:
        return list(read_data(file, "completion").examples[:MAX_TEXTS])
    faults = [*read.faults, *(fault for line in read.lines if (fault := _no_text(line)))]
    if faults:
        raise DataError((str(file), faults))
    return [line.row["text"] for line in read.lines[:MAX_TEXTS]]


def _no_text(line: Line) -> Fault | None:
    text = line.row.get("text")
    if not isinstance(text, str) or not text.strip():
        return Fault(line.number, "no_text", 'the row is no JSON object with a string "text" in it')
    return text_fault(line.number, "'text'", text)


def encode_texts(tokenizer: Any, rows: Sequence[Row]) -> list[Text]:
    """Token ids as an engine would see them, without doubles and cut to a probe's length.

    Of a text the beginning, of an example where the answer begins; where that is the same, what differs.
    """
    return distinct_texts((_candidate(tokenizer, row) for row in rows), MAX_TEXTS)


def _candidate(tokenizer: Any, row: Row) -> ProbeRow:
    def ids(text: str) -> Text:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    if isinstance(row, str):
        return ProbeRow(ids(row), ids(row)[:MAX_PROBE_TOKENS])
    return ProbeRow.of(ids(_as_prompt(tokenizer, row.prompt)), ids(row.completion))


def _as_prompt(tokenizer: Any, prompt: str | tuple[Message, ...]) -> str:
    if isinstance(prompt, str) or tokenizer.chat_template:
        return prompt_text(tokenizer, prompt)
    return "".join(f"{turn.content}\n" for turn in prompt)
