"""Which tensors fit the base model: the module names of a Llama, and its layers and sizes when config.json is there."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

LLAMA_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "embed_tokens", "lm_head")
LAYER = re.compile(r"^model\.layers\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Shapes:
    """`sizes` maps a module's last name to (inputs, outputs); empty, and `layers` None, when the base is unknown."""

    modules: frozenset[str]
    sizes: dict[str, tuple[int, int]]
    layers: int | None = None

    @classmethod
    def of_base(cls, model: str) -> Shapes:
        """Shapes of the Llama whose folder is `model`, or only the names when there is no such folder."""
        path = Path(model) / "config.json"
        modules = frozenset(LLAMA_MODULES)
        if not path.is_file():
            return cls(modules, {})
        config = json.loads(path.read_bytes())
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        head = config.get("head_dim") or hidden // heads
        sizes = {
            "q_proj": (hidden, heads * head),
            "k_proj": (hidden, kv_heads * head),
            "v_proj": (hidden, kv_heads * head),
            "o_proj": (heads * head, hidden),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        }
        return cls(modules, sizes, config["num_hidden_layers"])

    def has(self, module: str) -> bool:
        """Whether the base has the layer that this module path names. Paths outside every layer are taken for its."""
        found = LAYER.match(module)
        return found is None or self.layers is None or int(found[1]) < self.layers

    def clash(self, module: str, half: str, shape: tuple[int, ...]) -> str | None:
        """torch's words when a tensor is larger than its slot; a smaller one is copied in silently, as vLLM does."""
        size = self.sizes.get(module.rsplit(".", 1)[-1])
        if size is None or half not in ("A", "B"):
            return None
        slot, mine, axis = (size[0], shape[1], 1) if half == "A" else (size[1], shape[0], 0)
        if mine <= slot:
            return None
        return (
            f"The size of tensor a ({slot}) must match the size of tensor b ({mine}) at non-singleton dimension {axis}"
        )
