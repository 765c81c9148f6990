"""Keys of the rows that an adapter is trained on, written beside it: what changed in the data is known ever after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from registry.adapters.training_rows import TRAINING_ROWS_FILE, RowKey, row_key, rows_bytes
from trainer.data.read import Dataset
from trainer.data.rows import Example


def row_keys(tenant: str, data: Dataset) -> Iterator[RowKey]:
    """A key for each row of a data set, in the order of lines; form and spacing of the file do not matter."""
    rejected = {pair.line: asdict(pair.rejected) for pair in data.preferences}
    for line, group in groupby(data.examples, key=lambda example: example.line):
        examples = tuple(group)
        last = examples[-1]
        whole = {
            "prompt": _plain(last.prompt),
            "answer": asdict(last.answer),
            "tools": last.tools,
            "learnt": [_turns(example) for example in examples],
            "rejected": rejected.get(line),
        }
        yield row_key(tenant, line, _text([_asked(last), last.tools]), _text(whole))


def write_row_keys(tenant: str, data: Dataset, folder: Path) -> None:
    """Write them into an adapter's folder; of very many rows there are none."""
    found = rows_bytes(list(row_keys(tenant, data)))
    file = folder / TRAINING_ROWS_FILE
    if found is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(found)


def _turns(example: Example) -> int:
    """How many turns stand before an answer that is learnt: says which ones of a conversation are."""
    return 0 if isinstance(example.prompt, str) else len(example.prompt)


def _asked(example: Example) -> Any:
    """Everything but what the assistant says."""
    if isinstance(example.prompt, str):
        return example.prompt
    return [asdict(turn) for turn in example.prompt if turn.role != "assistant"]


def _plain(prompt: Any) -> Any:
    return prompt if isinstance(prompt, str) else [asdict(turn) for turn in prompt]


def _text(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
