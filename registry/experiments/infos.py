"""Experiments and decisions as callers see them, the states that they go through, and what may follow what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from registry.errors import Conflict, InvalidInput
from registry.experiments.plan import Plan

State = Literal["draft", "running", "paused", "inconclusive", "promoted", "rolled_back", "stopped"]
Kind = Literal[
    "start",
    "ramp",
    "hold",
    "alarm",
    "ask",
    "pause",
    "resume",
    "inconclusive",
    "promote",
    "rollback",
    "stop",
    "failed",
]
"""`hold`: nothing follows, for the reason that is given; `alarm`: nor then, but a person should look. `ask`: a person
has to decide. `failed`: what was decided could not be carried out.
`rollback` is the policy's, or a person's who has seen harm; `stop` a person's who has seen enough, and says nothing of
the treatments."""
KINDS: tuple[Kind, ...] = get_args(Kind)
HELD: tuple[State, ...] = ("paused", "inconclusive")
"""Units keep their arms, and nothing more is decided before a person says so."""
UNDER_WAY: tuple[State, ...] = ("running", *HELD)
AFTER: Mapping[Kind, tuple[tuple[State, ...], State | None]] = MappingProxyType(
    {
        "start": (("draft",), "running"),
        "ramp": (("running",), None),
        "hold": (("running",), None),
        "alarm": (("running",), None),
        "ask": (("running",), "paused"),
        "pause": (("running",), "paused"),
        "resume": (HELD, "running"),
        "inconclusive": (("running",), "inconclusive"),
        "promote": (UNDER_WAY, "promoted"),
        "rollback": (UNDER_WAY, "rolled_back"),
        "stop": (("draft", *UNDER_WAY), "stopped"),
    }
)
"""Kind → the states that it may follow, and the one that it leads to; `None`: it stays as it is."""
BY_PLAN: tuple[Kind, ...] = ("hold", "alarm", "ask")
"""What only the controller says."""
BY_HAND: Mapping[Kind, str] = MappingProxyType(
    {
        "start": "started by hand",
        "pause": "paused by hand",
        "resume": "resumed by hand",
        "promote": "promoted by hand",
        "rollback": "rolled back by hand",
        "stop": "stopped by hand",
    }
)
"""What the log says of a person's decision that has no reason."""
CONTROLLER = "controller"
"""Who decides by the plan."""
MOST_REASON = 1_000
"""Characters."""
MOST_FIGURES = 65_536
"""Bytes of the canonical JSON of one decision's figures."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to happen, and why. `figures` are JSON-ready and finite, rounded as they were decided on."""

    kind: Kind
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    inputs_digest: str = ""
    """Of the analysis' state that it was decided on; empty for a person's."""
    step: int | None = None
    """Of a ramp: the step to go to; `None`: the next one."""
    arm: str | None = None
    """Of a promote: the treatment that has won; `None`: the only one."""
    keep: bool = False
    """Of a stop: the split goes on as it is, undecided."""
    override: str | None = None
    """Why it may pass the alias's gate without a certificate; a person's alone."""
    actor: str = CONTROLLER


@dataclass(frozen=True, slots=True)
class DecisionInfo:
    """A line of the log."""

    experiment_id: int
    seq: int
    at_ms: int
    kind: Kind
    from_state: State
    to_state: State
    """With a swap: from its flip on."""
    step: int
    """Of the ramp, from its flip on; -1 before the first."""
    weights: Mapping[str, int]
    """Arm → 1/10,000, from its flip on."""
    figures: Mapping[str, Any]
    reason: str
    inputs_digest: str
    actor: str
    swap_id: int | None
    previous: str
    """Digest of the decision before it; empty for the first."""
    digest: str


@dataclass(frozen=True, slots=True)
class ExperimentArm:
    """One arm: a version, or the base."""

    name: str
    """`1.1`, or `base`."""
    version_id: int
    """`registry.splits.rows.BASE_ARM` for the base."""
    digest: str
    """Of the version's manifest, or of the base."""
    quarantined: str | None = None
    """Why no engine may have it: until it is released the alias's own version gets all of the traffic."""


@dataclass(frozen=True, slots=True)
class ExperimentInfo:
    """An experiment as it stands."""

    id: int
    name: str
    adapter: str
    """`tenant/adapter`."""
    adapter_id: int
    alias: str
    state: State
    plan: Plan
    arms: tuple[ExperimentArm, ...]
    """Control first."""
    salt: str
    step: int
    """Of the ramp, from 0; -1 before its first."""
    stepped_at_ms: int | None
    weights: Mapping[str, int]
    """Arm → 1/10,000 of the traffic now; empty before the start and after the end."""
    splits: tuple[int, ...]
    """Ids of its splits, oldest first: usage rows have them."""
    swap_id: int | None
    """The last swap that it asked for."""
    moving: bool
    """Whether that swap is still under way: the last decision is not in force yet."""
    decisions: int
    standing: Mapping[str, Any] | None
    standing_at_ms: int | None
    actor: str
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.adapter.partition("/")[0]

    @property
    def etag(self) -> str:
        """Names what was decided so far."""
        return str(self.decisions)

    @property
    def document(self) -> dict[str, Any]:
        """JSON-ready. Of the analysis it has what was found, and not what it goes on from."""
        found = None if self.standing is None else {**self.standing}
        if found is not None:
            found.pop("analysis", None)
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "plan": self.plan.document,
            "arms": [asdict(arm) for arm in self.arms],
            "weights": dict(self.weights),
            "splits": list(self.splits),
            "standing": found,
            "etag": self.etag,
        }


def check_follows(kind: Kind, state: State, name: str) -> State:
    """The state after such a decision. Raises `InvalidInput` for no such kind, and `Conflict`."""
    if kind not in AFTER:
        choices = ", ".join(AFTER)
        raise InvalidInput(f"kind is {str(kind)[:40]!r}; choose one of {choices}", param="kind")
    before, after = AFTER[kind]
    if state not in before:
        possible = ", ".join(one for one in AFTER if state in AFTER[one][0] and one not in BY_PLAN)
        remedy = f"; what can follow: {possible}" if possible else "; it has ended: create another one"
        raise Conflict(f"experiment {name} is {state}, so there is no {kind} now{remedy}", param="state")
    return after or state
