"""The engine behind the routes: its state, loads and unloads, and its death."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from loadtest.mock_engine.adapters import AdapterBroken, AdapterMissing, Weights, read_fingerprint
from loadtest.mock_engine.metrics import Stats
from loadtest.mock_engine.options import Faults, Options
from loadtest.mock_engine.pace import Pace
from loadtest.mock_engine.queues import Admission, PrefixCache
from loadtest.mock_engine.serving import Serving
from loadtest.mock_engine.shapes import Shapes
from loadtest.mock_engine.wire import EngineError
from loadtest.mock_engine.worker import AdapterTable, Registered, SlotLost

DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


class Engine:
    """All that one boot of the mock knows. `on_exit` ends the process, or what stands for it in a test."""

    def __init__(self, options: Options, on_exit: Callable[[], None]) -> None:
        self.options = options
        self.faults = Faults(
            ttft_ms=options.ttft_ms,
            token_ms=options.token_ms,
            load_stall_ms=options.load_stall_ms,
            noop_adapters=options.noop_adapters,
            fail_loads=options.fail_loads,
            fail_tokenize=options.fail_tokenize,
            half_load=options.half_load,
            refuse_requests=options.refuse_requests,
        )
        self.table = AdapterTable(
            options.max_loras,
            options.max_cpu_loras,
            options.max_lora_rank,
            Shapes.of_base(options.model),
            read_fingerprint(options.model),
        )
        self.admission = Admission(options.max_num_seqs, options.max_loras)
        self.prefix = PrefixCache(options.block_size)
        self.stats = Stats()
        self.pace = Pace()
        self.started = time.time()
        self.dead = False
        self.part_to_fail = 0.0
        """What has come together of `fail_share`; from 1 on a request fails."""
        self.exit_now = on_exit
        self._load_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def loading(self) -> int:
        """Adapters that are being loaded."""
        return len(self._load_locks)

    async def load(self, name: str, path: str, inplace: bool) -> None:
        """Load an adapter as `/v1/load_lora_adapter` does, one load per name at a time. Raises EngineError."""
        async with self._load_locks.setdefault(name, asyncio.Lock()):
            await self._load(name, path, inplace)

    async def _load(self, name: str, path: str, inplace: bool) -> None:
        if not name or not path:
            raise EngineError(400, "InvalidUserInput", "Both 'lora_name' and 'lora_path' must be provided.")
        if name in self.options.served_model_name:
            raise EngineError(400, "InvalidUserInput", f"The lora adapter '{name}' conflicts with a served base model.")
        if name in self.table.names and not inplace:
            text = f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set"
            raise EngineError(400, "InvalidUserInput", text + " 'load_inplace' to True.")
        await asyncio.sleep(self.faults.load_ms / 1_000)
        await self.pace.read(self.faults.load_stall_ms / 1_000, needed=lambda: True)
        self.check_alive()
        if self.faults.fail_loads:
            status = self.faults.fail_loads
            raise EngineError(status, "InternalServerError", f"Injected failure of every load with status {status}.")
        if self.faults.fail_next_load:
            status, *rest = self.faults.fail_next_load
            self.faults = replace(self.faults, fail_next_load=tuple(rest))
            raise EngineError(status, "InternalServerError", f"Injected failure of the load with status {status}.")
        try:
            self.table.load(name, path)
        except AdapterMissing as error:
            text = f"Loading lora {name} failed: No adapter found for {masked(path)}"
            raise EngineError(404, "NotFoundError", text) from error
        except (AdapterBroken, ValueError) as error:
            text = f"Call to add_lora method failed: {str(error).replace(path, masked(path))}"
            raise EngineError(500, "InternalServerError", text) from error
        if self.faults.half_load:
            del self.table.names[name]
        with suppress(EngineError):  # it dies in the step after the load, which is answered by then
            self._step()

    def unload(self, name: str) -> None:
        """Forget a name as `/v1/unload_lora_adapter` does; requests that run go on. Raises EngineError."""
        if not name:
            raise EngineError(400, "InvalidUserInput", "'lora_name' needs to be provided to unload a LoRA adapter.")
        if name not in self.table.names:
            raise EngineError(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        self.table.unload(name)

    def find(self, model: str) -> Registered | None:
        """The adapter of that name, None for the base (also for an empty name). Raises EngineError."""
        if not model or model in self.options.served_model_name:
            return None
        if model not in self.table.names:
            self.stats.unknown_model += 1
            served = ", ".join(self.options.served_model_name)
            text = f"The model `{model}` does not exist. Valid aliases: {served}."
            raise EngineError(404, "NotFoundError", text, "model")
        return self.table.names[model]

    async def prepare(self, adapter: Registered | None) -> None:
        """Take the time that the adapter's activation takes: a read stops the core if it has to be read again."""
        if adapter is not None and adapter.number not in self.table.memory:
            await self.pace.read(
                self.faults.load_stall_ms / 1_000, needed=lambda: adapter.number not in self.table.memory
            )

    @contextmanager
    def batch(self, adapter: Registered | None) -> Iterator[Serving]:
        """A request is in the batch. Raises EngineError, also when the step that takes it in kills the engine."""
        self.check_alive()
        self.pace.begin()
        if adapter is not None:
            self.table.begin(adapter)
        try:
            yield self._serving(adapter)
        finally:
            if adapter is not None:
                self.table.end(adapter)
            self.pace.end()

    def _serving(self, adapter: Registered | None) -> Serving:
        faults, size, path = self.faults, self.options.vocab_size, adapter.path if adapter else ""
        refused, nothing = faults.refuse_folder, faults.noop_folder
        if refused == "*" or (refused and refused in path):
            raise EngineError(400, "BadRequestError", "Injected refusal of the request.")
        noop = faults.noop_adapters or bool(nothing and nothing in path)
        if adapter is None:
            return Serving(self.options.served_model_name[0], "", None, noop, self.table, size)
        self._step()
        return Serving(adapter.name, adapter.path, self.table.memory[adapter.number], noop, self.table, size)

    def _step(self) -> None:
        try:
            self.table.step()
        except (AdapterMissing, AdapterBroken, ValueError, SlotLost) as error:
            self.die()
            raise EngineError(500, "InternalServerError", DEAD) from error

    def contaminant(self, begun: int) -> Weights | None:
        """The adapter that base tokens get: the last slot's, used or not, when an adapter runs or has begun since
        `table.begun` was `begun`. None: the base is answered by the base.
        """
        table = self.table
        if not self.options.contaminates or (begun == table.begun and not table.running):
            return None
        last = table.slot_weights[-1]
        return None if last is None or last.inert else last

    def change_faults(self, patch: Mapping[str, Any]) -> None:
        """Set the faults that `patch` names. Raises ValueError."""
        self.faults = self.faults.changed(patch)
        self.pace.hang(self.faults.hang)

    def check_alive(self) -> None:
        """Raises EngineError once the engine is dead."""
        if self.dead:
            raise EngineError(500, "InternalServerError", DEAD)

    def die(self) -> None:
        """Every request fails from now on, /health says 503, and `death_s` later the process is gone."""
        if not self.dead:
            self.dead = True
            asyncio.get_running_loop().call_later(self.options.death_s, self.exit_now)


def masked(path: str) -> str:
    """Absolute paths under the usual roots are masked in messages, as vLLM's `sanitize_message` does."""
    roots = ("home", "usr", "opt", "var", "tmp", "root", "lib", "mnt", "srv")
    return "<path>" if os.path.isabs(path) and path.split("/")[1] in roots else path
