"""A split whose traffic is not spread over units: one is so much of it that weights and comparisons mean little."""

from __future__ import annotations

from dataclasses import dataclass

MOST_OF_ONE_UNIT = 0.05
"""A larger share of a split's traffic is too much for one unit."""
LEAST_REQUESTS = 200
"""Of fewer requests nothing is said: a single conversation is much of them."""

_REMEDY = "name units with the header X-Switchyard-Unit or metadata.conversation_id"
_REMEDIES = {
    "first_turn": f"its chats begin with the same messages; {_REMEDY}",
    "prompt": f"its completions have the same prompt; {_REMEDY}",
    "header": "they have the same X-Switchyard-Unit; give each conversation its own",
    "conversation_id": "they have the same metadata.conversation_id; give each conversation its own",
    "stored": "they go on from the same stored response or conversation",
    "end_user": "they name the same end user; say safety_identifier or user of the person who asks",
}
"""By where the unit came from."""


@dataclass(frozen=True, slots=True)
class SplitSkew:
    """How many of a split's requests are of the one unit that has the most."""

    split_id: int
    source: str
    """Where that unit came from, as usage rows have it."""
    requests: int
    of_one_unit: int

    @property
    def share(self) -> float:
        """Of the requests, 0 to 1."""
        return self.of_one_unit / self.requests if self.requests else 0.0

    @property
    def alarming(self) -> bool:
        """Whether an operator should hear of it."""
        return self.requests >= LEAST_REQUESTS and self.share > MOST_OF_ONE_UNIT

    def __str__(self) -> str:
        return (
            f"one unit is {self.share:.0%} of the last {self.requests} requests of split {self.split_id}, and goes "
            f"to one arm as a whole: {_REMEDIES[self.source]}"
        )
