"""What controller and workers say to each other of slots, where several workers send requests to the same engines.

They are among the messages of `wire.py`, of the same form. A worker that is alone is told `Sharing` too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SlotsHeld:
    """A worker that gave slots out itself tells which it uses: (engine URL, adapter, tenant)."""

    held: tuple[tuple[str, int, str], ...]
    kind: Literal["slots_held"] = "slots_held"


@dataclass(frozen=True, slots=True)
class SlotWanted:
    """Please give this worker a slot for an adapter; the answer is a `SlotGiven`, in turn."""

    url: str
    adapter: int
    tenant: str
    kind: Literal["slot_wanted"] = "slot_wanted"


@dataclass(frozen=True, slots=True)
class SlotLeft:
    """This worker does not use a slot any more; or it does not wait for it any more."""

    url: str
    adapter: int
    waited: bool = False
    kind: Literal["slot_left"] = "slot_left"


@dataclass(frozen=True, slots=True)
class ProofSlot:
    """The answer to the `ProofSlotWanted` of the same id: whether the worker has the slot for the proof now."""

    id: int
    had: bool
    kind: Literal["proof_slot"] = "proof_slot"


SlotsFromWorker = SlotsHeld | SlotWanted | SlotLeft


@dataclass(frozen=True, slots=True)
class Sharing:
    """Whether the controller gives slots out, as there are other workers; `scarce`: URLs of engines whose slots
    somebody waits for, so that none may be kept that nobody uses.
    """

    shared: bool
    scarce: tuple[str, ...] = ()
    kind: Literal["sharing"] = "sharing"


@dataclass(frozen=True, slots=True)
class SlotGiven:
    """The worker may run requests on an adapter."""

    url: str
    adapter: int
    kind: Literal["slot_given"] = "slot_given"


@dataclass(frozen=True, slots=True)
class SlotClosing:
    """Others wait for the slot: what runs there goes on, and nothing may be added."""

    url: str
    adapter: int
    kind: Literal["slot_closing"] = "slot_closing"


@dataclass(frozen=True, slots=True)
class ProofSlotWanted:
    """Please have a slot for the proof of an adapter, until `ProofSlotLeft`; the answer is a `ProofSlot`. It `waits` in
    its tenant's turn, or else wants one only while nobody waits.
    """

    id: int
    url: str
    adapter: int
    tenant: str
    waits: bool
    kind: Literal["proof_slot_wanted"] = "proof_slot_wanted"


@dataclass(frozen=True, slots=True)
class ProofSlotLeft:
    """The proof of that id has ended, or waits no more."""

    id: int
    kind: Literal["proof_slot_left"] = "proof_slot_left"


SlotsFromController = Sharing | SlotGiven | SlotClosing
