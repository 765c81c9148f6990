"""An adapter while it is repaired: its configuration, and its tensors by the names that they will have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from registry.bases.model import BaseSpec
from registry.storage.safetensors_header import TensorEntry

PREFIX = "base_model.model."
LINEAR = re.compile(r"(?P<module>.+)\.lora_(?P<half>[AB])(?:\.(?P<adapter>[^.]+))?\.weight")
EMBEDDING = re.compile(r"(?P<module>.+)\.lora_embedding_(?P<half>[AB])(?:\.(?P<adapter>[^.]+))?")


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that was put right. `code` is stable and machine-readable, `what` a sentence for people."""

    code: str
    what: str


@dataclass(frozen=True, slots=True)
class RepairDraft:
    """`tensors` maps names as they will be written to what lies in the file under names of its own."""

    config: Mapping[str, Any]
    tensors: Mapping[str, TensorEntry]

    def with_config(self, **changes: Any) -> RepairDraft:
        """The draft with other values for these keys of the configuration."""
        return replace(self, config={**self.config, **changes})


class Values(Protocol):
    """What tensors hold, of the adapter and of its base."""

    def is_zero(self, entry: TensorEntry) -> bool:
        """Whether every value of the adapter's tensor is 0."""

    def is_base(self, entry: TensorEntry, name: str) -> bool | None:
        """Whether it has the values of the base's tensor `name`; None when the base's folder is not at hand."""

    def base_has(self, name: str) -> bool | None:
        """Whether the base has a tensor `name`; None when its folder is not at hand."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a repair may look at beside the draft."""

    base: BaseSpec
    values: Values

    def has(self, module: str) -> bool:
        """Whether the base has a linear layer or a token embedding of this path."""
        return module in self.base.linears or module in self.base.embeddings


Repaired = tuple[RepairDraft, tuple[Repair, ...]]


def half_of(name: str) -> re.Match[str] | None:
    """The parts `module`, `half` and `adapter` of a LoRA tensor's name; None for any other tensor."""
    return LINEAR.fullmatch(name) or EMBEDDING.fullmatch(name)


def adapted_modules(draft: RepairDraft) -> dict[str, int]:
    """The modules with LoRA tensors under their final names, and the rank that each one's A half has."""
    ranks: dict[str, int] = {}
    for name, entry in draft.tensors.items():
        parts = half_of(name)
        if parts and parts["half"] == "A" and name.startswith(PREFIX) and entry.shape:
            ranks[parts["module"].removeprefix(PREFIX)] = entry.shape[0]
    return ranks


def some(names: list[str], most: int = 3) -> str:
    """A few of many names for a sentence."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
