"""What an engine holds, under which names, and how many places it has left: our account of it, without a question."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.engines.kind import Card
from gateway.engines.names import OUR_NAMES, adapter_name
from registry.catalog.snapshot import VersionEntry

NOT_TOLD = sys.maxsize
"""In place of a view revision: workers may still route to the name, and have not been told otherwise."""


@dataclass(frozen=True, slots=True)
class Resident:
    """An adapter that the engine holds and that passed its probe."""

    name: str
    folder: Path
    strength: float | None
    """Strength of the proven effect; `None` when the version carries no proof."""
    fully_proven: bool
    """Whether every probe was replayed, and not only the first."""


@dataclass(frozen=True, slots=True)
class Finder:
    """How an engine's adapters are recognised: by the folder that they were read from."""

    versions: Callable[[Path], Sequence[VersionEntry]]
    """The versions that lie in a folder; several when tenants published the same bytes."""
    trusted: Collection[str]
    """Names that workers were routing to, so an earlier controller had proven them."""


class Residency:
    """Of one engine.

    Invariant: a name in `resident` was loaded and verified on the boot in `boot`, and no name is used twice on a boot,
    not even after a failed load or by the next controller: vLLM would mix or crash requests of the old and the new one.
    """

    def __init__(self, places: int, term: int) -> None:
        self.boot: float | None = None
        self.resident: dict[int, Resident] = {}
        self.adoptable: dict[int, tuple[str, Path]] = {}
        """Names and folders of versions that are on the engine unproven: an earlier controller loaded them on this boot
        and nobody vouches for them, or this one did, for requests that wait for a slot.
        """
        self.proving: dict[int, tuple[str, Path]] = {}
        """Those that are being proven: they stay until that has ended."""
        self.leaving: dict[str, int] = {}
        """Names out of the routes, with the view revision that took them out; unloaded when nobody uses them."""
        self.foreign: set[str] = set()
        """Adapters that somebody else has put there: they take places, and are not ours to unload."""
        self.base_name: str | None = None
        """What base traffic is sent to; `None` until it has been made servable."""
        self._base_takes_a_place = False
        self._places = places
        self._term = term
        self._sequence = 0
        self._shelf = Path()
        """Where our adapters are read from."""

    # What it holds

    @property
    def names(self) -> set[str]:
        """Every adapter name that takes a place on the engine, as far as we know."""
        held = {resident.name for resident in self.resident.values()} | set(self.leaving) | self.foreign
        held |= {name for name, _ in (*self.adoptable.values(), *self.proving.values())}
        return held | ({self.base_name} if self.base_name and self._base_takes_a_place else set())

    def places_left(self, *, for_swap: bool = False) -> int:
        """Adapters that can still be loaded, one place kept for a swap. The count is ours: vLLM never refuses."""
        return self._places - (0 if for_swap else 1) - len(self.names)

    def routes(self) -> dict[int, str]:
        """Version id → name, for the request path."""
        return {version: entry.name for version, entry in self.resident.items()}

    def has(self, version_id: int) -> bool:
        """Whether the version is on the engine, proven or not."""
        return version_id in self.resident or version_id in self.adoptable or version_id in self.proving

    def holds(self, version_id: int, *, fully_proven: bool) -> bool:
        """Whether the version can take traffic here, with all of its probes replayed if that is asked."""
        entry = self.resident.get(version_id)
        return entry is not None and (entry.fully_proven or not fully_proven)

    # What comes

    def begin_boot(self, boot: float) -> None:
        """The engine has started anew, at this time (seconds since the epoch), and holds nothing that we loaded."""
        for held in (self.resident, self.adoptable, self.proving, self.leaving):
            held.clear()
        # Names must not come back on a boot, not even when the database was thrown away and terms begin at 1 again:
        # so the numbering begins at the boot's age in milliseconds, which no counting of loads can have reached.
        self._sequence = max(self._sequence, int((time.time() - boot) * 1000))
        self.boot = boot

    def next_name(self, digest: str) -> str:
        """A name that this boot has never seen, for a load of the adapter with this digest."""
        self._sequence += 1
        return adapter_name(digest, self._term, self._sequence)

    def sort_out(self, cards: Mapping[str, Card], find: Finder, zero_adapter: Path) -> None:
        """What lies on the engine: ours that somebody vouches for, ours to be proven, to be unloaded, and others'."""
        self._shelf = zero_adapter.parent
        self.resident = {key: entry for key, entry in self.resident.items() if entry.name in cards}
        self.adoptable.clear()
        self.foreign = set()
        kept = {entry.name for entry in self.resident.values()} | set(self.leaving)
        kept |= {name for name, _ in self.proving.values()}
        for card in sorted(cards.values(), key=lambda card: card.id not in find.trusted):
            if card.parent is None or card.id in kept:
                continue
            if not self._is_ours(card):
                self.foreign.add(card.id)
                continue
            folder = Path(card.root)
            taken = self.resident.keys() | self.adoptable.keys() | self.proving.keys()
            version = next((one for one in find.versions(folder) if one.id not in taken), None)
            if folder == zero_adapter or version is None:
                self.leaving[card.id] = NOT_TOLD
            elif card.id in find.trusted:
                self.resident[version.id] = Resident(card.id, folder, None, fully_proven=False)
            else:
                self.adoptable[version.id] = (card.id, folder)

    def keep_back(self, folder: Path, cards: Mapping[str, Card]) -> str | None:
        """The name of an adapter that was to leave and was read from this folder; it stays, as workers may use it."""
        for name in self.leaving:
            if name in cards and cards[name].root == str(folder):
                del self.leaving[name]
                return name
        return None

    def begin_proof(self, version_id: int) -> None:
        """What is there unproven is being proven from now on. Raises `KeyError`."""
        self.proving[version_id] = self.adoptable.pop(version_id)

    def end_proof(self, version_id: int, name: str) -> bool:
        """It is no more; whether it was still to be: not if the engine has booted, or was refused, meanwhile."""
        if (known := self.proving.get(version_id)) is None or known[0] != name:
            return False
        del self.proving[version_id]
        return True

    def base_is_servable(self, name: str, *, takes_a_place: bool) -> None:
        """Base traffic can be sent to this name; it takes a place when it is that of an adapter of zeros."""
        self.base_name, self._base_takes_a_place = name, takes_a_place

    # What goes

    def take_out(self, version_id: int) -> str:
        """Take a version out, resident or unproven; its name, which stays on the engine until it is unloaded."""
        entry = self.resident.pop(version_id, None)
        return entry.name if entry is not None else self.adoptable.pop(version_id)[0]

    def take_all_out(self) -> None:
        """Nothing that the engine holds is believed any more."""
        unproven = *self.adoptable.values(), *self.proving.values()
        names = [*self.routes().values(), *(name for name, _ in unproven)]
        self.resident.clear()
        self.adoptable.clear()
        self.proving.clear()
        self.leaving.update(dict.fromkeys(names, NOT_TOLD))

    def mark_published(self, revision: int) -> None:
        """Workers were told with this revision of the view what the engine holds, and what not any more."""
        self.leaving = {name: revision if at == NOT_TOLD else at for name, at in self.leaving.items()}

    def forget(self, name: str) -> None:
        """The engine does not know a name."""
        self.resident = {key: entry for key, entry in self.resident.items() if entry.name != name}
        self.leaving.pop(name, None)
        if self.base_name == name:
            self.base_name = None  # the next check makes the base servable again

    def compare(self, listed: Mapping[str, Card], *, strays_leave: bool) -> list[int]:
        """Drop what the engine does not list; ids of the versions that were in the routes.

        What it lists under a name of ours that we do not know came of a load that had been given up; if that is asked,
        it leaves.
        """
        gone = [
            version_id
            for version_id, entry in self.resident.items()
            if entry.name not in listed or listed[entry.name].root != str(entry.folder)
        ]
        for version_id in gone:
            del self.resident[version_id]
        adapters = {name: card for name, card in listed.items() if card.parent}
        self.foreign = {name for name, card in adapters.items() if not self._is_ours(card)}
        self.leaving = {name: revision for name, revision in self.leaving.items() if name in listed}
        self.adoptable = {key: pair for key, pair in self.adoptable.items() if pair[0] in listed}
        if strays_leave:
            strays = adapters.keys() - self.names  # foreign ones are among the names
            self.leaving.update(dict.fromkeys(strays, NOT_TOLD))
        if self.base_name is not None and self.base_name not in listed:
            self.base_name = None  # the next check makes the base servable again
        return gone

    def _is_ours(self, card: Card) -> bool:
        """Whether a controller of this fleet has loaded it. Another fleet's has our kind of name, and another folder:
        it is left alone, or two fleets on one engine would unload each other's adapters without end.
        """
        return card.id.startswith(OUR_NAMES) and Path(card.root).parent == self._shelf
