"""What the grammar of a JSON schema costs the engine to compile, while others wait.

The unit is a state: about 12 ms of one core. Measured with xgrammar 0.2.8 and a vocabulary of 49,152 (seconds of CPU):

    a plain string, 32 of them                  0.01    an array, whatever its minItems and maxItems   0.01
    maxLength 8, 32, 64, 128     0.04, 0.4, 0.8, 1.7    3,000 values of an enum                         0.2
    maxLength 256, 512, 5,000, 524,288           3.0    200 alternatives of anyOf                       0.1
    the same maxLength 8 times, 32 times    2.8, 3.6    500 required properties, 1,000             0.1, 0.2
    2, 4, 8 different ones        3.5, 6.3, 11.6        200 optional properties, 500, 1,000   0.2, 1.0, 4.8
    minLength 100, 50,000                   0.8, 0.9

So a bound on a string costs its states, of which there are never more than 256, and no more where it stands again;
patterns cost a state for each of the characters that their repetitions come to, a single one no more than 256 times,
and repetitions within repetitions multiply; optional properties cost with their square; and nothing else costs what
would be noticed. Of regular expressions and grammars that stand alone each repetition costs its states, 256 at most,
and those within repetitions are not multiplied: .{0,300} takes 3.2 s, two, four of different lengths 7.0, 13.9, and
(.{1,300}x){1,300} 3.5.

    pattern .{0,300}, .{0,65536}, [a-z]{1,5000}      0.1, 2.8, 3.0    (ab){0,5000}, (ab?c){0,5000}      5.1, 8.5
    ([a-z]{1,50}x){1,50}, (b[a-z]{0,30}){0,100}           7.0, 9.3    (a(b(c[a-z]{0,30}){0,10}){0,10})?     12.0
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gateway.api.fields.caps import Caps
from gateway.errors import BadRequest

_MOST_OF_A_BOUND = 256
_PAIRS_A_STATE = 2_500
_CHARACTERS_A_STATE = 16
"""Of a pattern that comes to next to nothing: it has to be read all the same, here too."""
_BEYOND = 2**31
# Linear in the pattern, whatever it is: no piece that fails has looked far ahead.
_PATTERN_PIECE = re.compile(
    r"\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[pP]\{[^}]{0,64}\}|.)"  # one escaped character
    r"|\[\^?\]?(?:\\.?|[^\]\\])*+(?:\]|\Z)"  # a class, or all that is left when it does not end
    r"|\{(?P<least>\d+)(?P<comma>,(?P<most>\d*))?\}"
    r"|.",
    re.DOTALL,
)


def affordable(schemas: Iterable[Any], param: str, caps: Caps) -> None:
    """Raise `BadRequest` when all these schemas together cost more than `caps.max_schema_cost`."""
    _refuse_dearer(schema_cost(schemas, caps.max_schema_cost), param, caps)


def affordable_alone(source: str, param: str, caps: Caps) -> None:
    """The same for a regular expression or a grammar that is no part of a schema."""
    _refuse_dearer(cost_alone(source), param, caps)


def _refuse_dearer(cost: int, param: str, caps: Caps) -> None:
    if cost > caps.max_schema_cost:
        raise BadRequest(
            f"The grammar of '{param}' takes too long to compile: at least {cost} states, and the most is "
            f"{caps.max_schema_cost}. Repeat less in patterns, give fewer different lengths of strings, or fewer "
            "optional properties.",
            param=param,
            code="invalid_value",
        )


def cost_alone(source: str) -> int:
    """How many states the repetitions of a regular expression, or of a grammar in EBNF, have that stands alone."""
    bounds = (_most_times(found) for found in _PATTERN_PIECE.finditer(source) if found["least"] is not None)
    return sum(min(most, _MOST_OF_A_BOUND) for most in bounds)


def schema_cost(schemas: Iterable[Any], most: int = _BEYOND) -> int:
    """About how many states the grammars of JSON schemas have that are compiled together; counted little beyond `most`,
    because patterns take time to read.
    """
    counted: set[tuple[Any, ...]] = set()
    waiting: list[Any] = list(schemas)
    cost = 0
    while waiting and cost <= most:
        node = waiting.pop()
        if type(node) is list:
            waiting += node
        elif type(node) is dict:
            waiting += node.values()
            for one in _grammars_of(node):
                if cost <= most and one not in counted:
                    counted.add(one)
                    cost += _cost_of(*one)
            cost += _cost_of_properties(node)
    return cost


def _grammars_of(node: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """What of a node, less its children, costs once wherever it stands: a pattern, or the bounds of a string."""
    pattern, least, most = node.get("pattern"), _length(node.get("minLength")), _length(node.get("maxLength"))
    if type(pattern) is str:
        yield (pattern,)
    elif least or most:
        yield least, most
    keys = node.get("patternProperties")
    if type(keys) is dict:
        yield from ((key,) for key in keys)


def _cost_of(*grammar: Any) -> int:
    return pattern_cost(grammar[0]) if len(grammar) == 1 else min(max(grammar), _MOST_OF_A_BOUND)


def _cost_of_properties(node: dict[str, Any]) -> int:
    properties, required = node.get("properties"), node.get("required")
    if type(properties) is not dict:
        return 0
    named = {name for name in required if type(name) is str} if type(required) is list else set()
    optional = len(properties.keys() - named)
    return 1 + optional * optional // _PAIRS_A_STATE


def _length(value: Any) -> int:
    return int(min(abs(value), _BEYOND)) if type(value) in (int, float) else 0


@dataclass(slots=True)
class _Piece:
    """Of a pattern. `states` is what it costs where it stands; `whole` are the characters that its repetitions come to
    within another one; `levels` says how many bounded repetitions stand in each other."""

    states: int = 0
    whole: int = 0
    levels: int = 0

    def add(self, piece: _Piece) -> None:
        self.states = min(self.states + piece.states, _BEYOND)
        self.whole = min(self.whole + piece.whole, _BEYOND)
        self.levels = max(self.levels, piece.levels)

    def times(self, times: int) -> _Piece:
        whole = min(self.whole * times, _BEYOND)
        if times == 1:
            return self
        if not self.levels:
            return _Piece(self.whole * min(times, _MOST_OF_A_BOUND), whole, 1)
        whole = min(2 * whole, _BEYOND) if self.levels > 1 else whole
        return _Piece(whole, whole, self.levels + 1)


_ONE = _Piece(1, 1)


def pattern_cost(pattern: str) -> int:
    """How many states a regular expression has: the characters that it comes to when its bounded repetitions are
    written out, of which one that stands in no other and has none in it has 256 times its own at most; each
    level of repetitions beyond the second doubles."""
    groups: list[list[_Piece]] = [[]]
    for found in _PATTERN_PIECE.finditer(pattern):
        piece = found[0]
        if piece == "(":
            groups.append([])
        elif piece == ")" and len(groups) > 1:
            group = _sum(groups.pop())
            groups[-1].append(group)
        elif found["least"] is not None:
            if groups[-1]:
                groups[-1][-1] = groups[-1][-1].times(max(_most_times(found), 1))
        elif piece not in "?*+|^$":
            groups[-1].append(_ONE)
    return max(_sum([piece for group in groups for piece in group]).states, len(pattern) // _CHARACTERS_A_STATE)


def _sum(pieces: list[_Piece]) -> _Piece:
    whole = _Piece()
    for piece in pieces:
        whole.add(piece)
    return whole


def _most_times(bound: re.Match[str]) -> int:
    return max(_times(bound["least"]), _times(bound["most"] or "0"))


def _times(digits: str) -> int:
    return int(digits) if len(digits) < 10 else _BEYOND
