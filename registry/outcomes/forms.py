"""What an adapter wants to have found in its answers: a form that they should have, and how many are looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.errors import InvalidInput

MOST_PATTERN_CHARACTERS, MOST_SCHEMA_BYTES, MOST_DEPTH = 1_000, 64 * 1024, 64


@dataclass(frozen=True, slots=True)
class AnswerChecks:
    """`share` of the answers, 0 to 1, is looked at while no experiment runs; in an experiment all are. An answer
    conforms when `pattern` matches all of it and it is JSON that follows `schema`; `None` asks for nothing.
    """

    share: float = 0.0
    pattern: str | None = None
    schema: Mapping[str, Any] | None = None

    @property
    def declared(self) -> dict[str, Any] | None:
        """The form, as JSON; `None`: none."""
        if self.pattern is None and self.schema is None:
            return None
        return {"pattern": self.pattern, "schema": self.schema}

    @property
    def document(self) -> dict[str, Any]:
        """All of it, as it is stored."""
        return {"share": self.share, "pattern": self.pattern, "schema": self.schema}

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> AnswerChecks | None:
        """What is stored of an adapter."""
        return None if document is None else cls(**document)

    def checked(self) -> AnswerChecks:
        """The same. Raises `InvalidInput` for what cannot be asked of an answer."""
        if not 0 <= self.share <= 1:
            raise InvalidInput(f"share is {self.share!r}; expected a share of the answers, 0 to 1", param="share")
        if self.pattern is not None:
            _check_pattern(self.pattern)
        if self.schema is not None:
            _check_schema(self.schema)
        return self


def _check_pattern(pattern: str) -> None:
    if not 0 < len(pattern) <= MOST_PATTERN_CHARACTERS:
        raise InvalidInput(
            f"pattern has {len(pattern)} characters; a pattern has 1 to {MOST_PATTERN_CHARACTERS}", param="pattern"
        )
    try:
        pattern.encode()
        re.compile(pattern, re.DOTALL)
    except (re.error, RecursionError, OverflowError, ValueError) as error:
        raise InvalidInput(
            f"pattern is {pattern[:80]!r}, which is no regular expression: {error}", param="pattern"
        ) from None


def _check_schema(schema: Mapping[str, Any]) -> None:
    from jsonschema import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    length = len(json.dumps(schema, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if length > MOST_SCHEMA_BYTES:
        raise InvalidInput(f"schema has {length} bytes; the most is {MOST_SCHEMA_BYTES}", param="schema")
    if (outside := _outside(schema)) is not None:
        raise InvalidInput(
            f"schema refers to {outside[:80]!r}, and nothing is fetched; put it into '$defs' and refer to '#/$defs/…'",
            param="schema",
        )
    try:
        json.dumps(schema, ensure_ascii=False).encode()
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        raise InvalidInput(f"schema is no JSON schema: {error.message[:200]}", param="schema") from None
    except Exception as error:  # the validator's own, such as a pattern that repeats too often, or a '$schema' of 3
        raise InvalidInput(f"schema is no JSON schema: {str(error)[:200]}", param="schema") from None


def _outside(schema: Mapping[str, Any]) -> str | None:
    """A reference to somewhere else. Raises `InvalidInput` for what nests without end."""
    layer: list[Any] = [schema]
    for _ in range(MOST_DEPTH):
        if not layer:
            return None
        for one in layer:
            for name in ("$ref", "$dynamicRef"):
                if isinstance(one, dict) and isinstance(found := one.get(name), str) and not found.startswith("#"):
                    return found
        inner = (value for one in layer for value in (one.values() if isinstance(one, dict) else one))
        layer = [value for value in inner if isinstance(value, dict | list)]
    raise InvalidInput(f"schema nests more than {MOST_DEPTH} levels; flatten it", param="schema")
