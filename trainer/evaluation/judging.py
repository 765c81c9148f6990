"""A version that was just published is compared with the one in production, and what was found is written down.

For whoever publishes: the held-out rows are kept as questions before, while they are at hand, and asked afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from registry.adapters.version_rows import VersionInfo
from registry.gates.policy import Policy
from registry.gates.store import CertificateInfo
from registry.names import PRODUCTION, AdapterRef
from registry.service import Registry
from trainer.data.rows import Example, Message
from trainer.endpoints.endpoint import gateway_at
from trainer.evaluation.asking import asker
from trainer.evaluation.orders import EvaluationOrder, Told, evaluated, record
from trainer.evaluation.sides import key_of

ACTOR = "trainer"
MOST_ROWS = 500


def is_judged(registry: Registry, version: VersionInfo, wish: Policy | None, alias: str = PRODUCTION) -> bool:
    """Whether anybody has asked for a verdict: with the order, or by a gate."""
    return wish is not None or registry.gates.policy(_ref(version), alias) is not None


def judge_version(
    registry: Registry, order: EvaluationOrder, url: str, told: Told = lambda done, total: None
) -> CertificateInfo:
    """Ask the rows of a version and of what the alias points at, else of the base, through the gateway at `url`; the
    certificate is stored.

    Nothing is promoted. `told` hears how many rows of how many are done; what it raises ends the judging. Raises
    EvaluationError, EndpointError, DataError, and `RegistryError`.
    """
    with key_of(registry, order.version.tenant, ACTOR) as key, asker(gateway_at(url, key)) as ask:
        return record(registry, order, evaluated(registry, order, ask, told), ACTOR)


def sentence_of(certificate: CertificateInfo) -> str:
    """What a tenant is told of it."""
    document = certificate.document
    against = f"{certificate.candidate} against {document['incumbent']['model']}"
    rows = f"{document['data']['rows']} held-out rows"
    return f"Verdict: {certificate.verdict}. {against} on {rows}: {'; '.join(document['reasons'])}."


def write_questions(examples: Iterable[Example], file: Path) -> int:
    """The held-out rows as rows of an evaluation; how many there are. Answers that are calls of tools are left out."""
    count = 0
    with file.open("w", encoding="utf-8") as out:
        for example in examples:
            if example.completion.strip() and not example.tool_calls:
                out.write(json.dumps(_row(example), ensure_ascii=False) + "\n")
                count += 1
    return count


def _row(example: Example) -> dict[str, Any]:
    if isinstance(example.prompt, str):
        return {"prompt": example.prompt, "completion": example.completion}
    before = [_turn(message) for message in example.prompt]
    row: dict[str, Any] = {"messages": [*before, {"role": "assistant", "content": example.completion}]}
    return {**row, "tools": json.loads(example.tools)} if example.tools else row


def _turn(message: Message) -> dict[str, Any]:
    """As a client sends it; an earlier answer is no question."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.role == "assistant":
        turn["weight"] = 0
    if message.tool_calls:
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _ref(version: VersionInfo) -> AdapterRef:
    return AdapterRef(version.tenant, version.adapter, version.version, None)
