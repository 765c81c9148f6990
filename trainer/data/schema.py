"""Answers held against a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.data.answers import json_value
from trainer.data.findings import Finding, finding
from trainer.data.read import Dataset
from trainer.errors import TrainerError

MAX_REASONS = 3


def read_schema(file: Path) -> Any:
    """A validator. Raises TrainerError when the file holds no JSON schema."""
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        schema = json.loads(file.read_bytes())
        kind = validator_for(schema)
        kind.check_schema(schema)
    except (OSError, ValueError, RecursionError) as failed:
        raise TrainerError(f"{file}: is no JSON schema that can be read ({failed}); correct it") from failed
    except SchemaError as failed:
        raise TrainerError(f"{file}: is no JSON schema ({failed.message[:200]}); correct it") from failed
    return kind(schema)


def schema_findings(data: Dataset, validator: Any) -> Iterator[Finding]:
    """Answers that are no JSON, or not as the schema says."""
    lines: list[int] = []
    reasons: list[str] = []
    for example in data.examples:
        reason = _reason(validator, example.completion)
        if reason:
            lines.append(example.line)
            reasons.append(f"line {example.line}: {reason}")
    if lines:
        named = "; ".join(reasons[:MAX_REASONS])
        text = f"{len(lines)} of {len(data.examples)} answers are not as the schema says; correct them: {named}"
        yield finding("error", "not_as_schema", text, lines)


def _reason(validator: Any, answer: str) -> str:
    value = json_value(answer)
    if value is None:
        return "no JSON"
    try:
        first = next(iter(validator.iter_errors(value)), None)
    except Exception as failed:  # a reference that cannot be resolved, a pattern that is none
        return f"cannot be checked ({type(failed).__name__})"
    return "" if first is None else f"{first.json_path}: {first.message[:120]}"
