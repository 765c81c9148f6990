"""Where vLLM keeps adapters: names, memory, slots; and what each step of the engine does to them.

* *names*: what the API process knows (`/v1/models`). Unloading removes the name, and nothing else.
* *memory*: `max_cpu_loras` adapters by number, least recently used out, whether their names are loaded or not. One
  that was put out is read from its folder again when a request uses it.
* *slots*: `max_loras` places on the device, least recently used out. A slot keeps its weights until it gets others.

Every step touches the adapters of the requests that run. vLLM collects them in a set that compares by name
(`lora/request.py`), so of two numbers under one name only the older is touched: a reused name.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from loadtest.mock_engine.adapters import Question, Weights, read_adapter
from loadtest.mock_engine.shapes import Shapes


class SlotLost(Exception):
    """A request runs on an adapter that no step has kept in its slot: vLLM's KeyError in `convert_mapping`."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A loaded name. `number` is vLLM's lora_int_id, never reused while the engine lives."""

    name: str
    path: str
    number: int


@dataclass(slots=True)
class Running:
    """An adapter of the batch, and how many requests run on it."""

    adapter: Registered
    requests: int = 0


class AdapterTable:
    """Names, memory and slots of one engine. Reading is synchronous, as it is in vLLM's worker."""

    def __init__(
        self, max_loras: int, max_cpu_loras: int, max_rank: int, shapes: Shapes, fingerprint: Mapping[Question, float]
    ) -> None:
        self.names: dict[str, Registered] = {}
        self.memory: OrderedDict[int, Weights] = OrderedDict()
        self.slots: OrderedDict[int, int] = OrderedDict()
        """Adapter's number → index of its slot."""
        self.slot_weights: list[Weights | None] = [None] * max_loras
        self.running: dict[int, Running] = {}
        """By number, the one that began first first."""
        self.begun = 0
        """Requests on adapters that have entered the batch so far."""
        self.loads = 0
        self.unloads = 0
        self.evictions = 0
        self.disk_reads = 0
        self._max_cpu_loras = max_cpu_loras
        self._max_rank = max_rank
        self._shapes = shapes
        self._fingerprint = fingerprint
        self._next_number = 1

    @property
    def running_names(self) -> list[str]:
        """Names of the adapters in the batch, sorted."""
        return sorted({running.adapter.name for running in self.running.values()})

    def load(self, name: str, path: str) -> None:
        """Read the folder, give it a slot, then register the name; a loaded name keeps its number (in-place).

        Raises AdapterMissing, AdapterBroken.
        """
        known = self.names.get(name)
        adapter = Registered(name, path, known.number if known else self._next_number)
        self._next_number += not known
        self._touch_running()
        self.memory.pop(adapter.number, None)
        self.slots.pop(adapter.number, None)
        self._bring_in(adapter)
        self.names[name] = adapter
        self.loads += 1

    def unload(self, name: str) -> None:
        """Forget the name; memory and slot stay as they are. Raises KeyError."""
        del self.names[name]
        self.unloads += 1

    def begin(self, adapter: Registered) -> None:
        """A request on the adapter enters the batch; the next `step` brings it in."""
        self.begun += 1
        self.running.setdefault(adapter.number, Running(adapter)).requests += 1

    def end(self, adapter: Registered) -> None:
        """It leaves the batch."""
        running = self.running[adapter.number]
        running.requests -= 1
        if not running.requests:
            del self.running[adapter.number]

    def step(self) -> None:
        """What a step does before it computes. It finds work only after a load or a new request, so only they call it.

        Raises AdapterMissing, AdapterBroken, SlotLost: the engine dies of each.
        """
        self._touch_running()
        for number, running in self.running.items():
            if number not in self.slots:
                raise SlotLost(f"adapter {number} ({running.adapter.name}) is in the batch and in no slot")

    def base_logprob(self, question: Question) -> float | None:
        """The base's answer to a question that the fingerprint or some proof in memory asks."""
        if (known := self._fingerprint.get(question)) is not None:
            return known
        for weights in self.memory.values():
            if found := weights.proven.get(question):
                return found.base
        return None

    def _touch_running(self) -> None:
        by_name: dict[str, Registered] = {}
        for running in self.running.values():
            by_name.setdefault(running.adapter.name, running.adapter)
        for adapter in by_name.values():
            self._bring_in(adapter)

    def _bring_in(self, adapter: Registered) -> None:
        """The adapter is in memory and in a slot, and the one used last in both."""
        number = adapter.number
        if number in self.memory:
            self.memory.move_to_end(number)
        else:
            weights = read_adapter(adapter.path, self._max_rank, self._shapes)
            self.disk_reads += 1
            if len(self.memory) >= self._max_cpu_loras:
                oldest, _ = self.memory.popitem(last=False)
                self.slots.pop(oldest, None)
                self.evictions += 1
            self.memory[number] = weights
        if number in self.slots:
            self.slots.move_to_end(number)
        else:
            if len(self.slots) >= len(self.slot_weights):
                self.slots.popitem(last=False)
            taken = set(self.slots.values())
            index = next(index for index in range(len(self.slot_weights)) if index not in taken)
            self.slots[number] = index
            self.slot_weights[index] = self.memory[number]
