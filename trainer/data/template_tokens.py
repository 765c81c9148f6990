"""Control tokens of well-known chat templates in the texts of rows, where no base is there to ask."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from trainer.data.findings import Finding, finding
from trainer.data.overlap import Row

KNOWN = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|eot_id|end_of_text|begin_of_text|start_header_id|end_header_id|eom_id"
    r"|python_tag|system|user|assistant|end|start|message|channel|return|call)\|>"
    r"|</?s>|\[/?INST\]|\[(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|<<SYS>>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>"
    r"|<｜(?:User|Assistant|begin▁of▁sentence|end▁of▁sentence)｜>"
)


def template_tokens(rows: Iterable[Row]) -> Iterator[Finding]:
    """In prompts or answers."""
    lines: dict[str, list[int]] = {}
    for row in rows:
        for text in row.texts:
            for token in set(KNOWN.findall(text)):
                lines.setdefault(token, []).append(row.line)
    if lines:
        names = ", ".join(sorted(lines)[:5])
        text = f"texts hold {names}: control tokens of chat templates, which are no text to many bases; remove them"
        yield finding("warn", "template_tokens", text, (line for found in lines.values() for line in found))
