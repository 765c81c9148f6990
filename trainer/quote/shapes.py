"""The shape of a decoder: how many parameters it has, and the linear layers that adapters are put on.

A shape comes from a folder or from the table of known ones (`known.py`). Of a folder `config.json` and the headers of
its safetensors files are read, no weights; without weights, the parameters are counted by the architecture's rules,
which for the known ones is the same number.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from registry.storage.safetensors_header import MalformedSafetensors, read_header
from trainer.errors import BaseModelError

Targets = Literal["all-linear"] | Sequence[str]
MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "smollm3")
"""Architectures whose layers are known by their settings alone."""


@dataclass(frozen=True, slots=True)
class Linear:
    """One kind of linear layer, such as `q_proj`; a model has `count` of them in all."""

    name: str
    outputs: int
    inputs: int
    count: int


@dataclass(frozen=True, slots=True)
class Shape:
    """`parameters` counts each weight once, also where input and output embedding are one. `linears` lacks the output
    layer. `query` and `key_value` are the widths of attention's projections, `context` tokens or None if unknown.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    query: int
    key_value: int
    intermediate: int
    vocab: int
    context: int | None
    parameters: int
    linears: tuple[Linear, ...]

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers, which is what QLoRA keeps in four bits."""
        return sum(one.outputs * one.inputs * one.count for one in self.linears)

    def targeted(self, targets: Targets = "all-linear") -> list[Linear]:
        """The linear layers that adapters are put on. Raises BaseModelError for a name that is none of them."""
        if targets == "all-linear":
            return list(self.linears)
        known = {one.name for one in self.linears}
        if not targets:
            raise BaseModelError(f"no linear layer is named; {self.name} has {', '.join(sorted(known))}, or all-linear")
        unknown = [name for name in targets if name not in known]
        if unknown:
            raise BaseModelError(
                f"{unknown} are no linear layers of {self.name}; it has {', '.join(sorted(known))}, or give all-linear"
            )
        return [one for one in self.linears if one.name in targets]


def lora_parameters(shape: Shape, rank: int, targets: Targets = "all-linear") -> int:
    """How many weights a LoRA adapter has: r × (in + out) for each layer (Hu et al. 2021, section 4.1)."""
    return sum(rank * (one.outputs + one.inputs) * one.count for one in shape.targeted(targets))


def read_shape(folder: Path) -> Shape:
    """The shape of the model in a folder in Hugging Face layout. Raises BaseModelError."""
    config = _config(folder)
    shape = None
    if config.get("model_type") in MODEL_TYPES:
        shape = shape_of(config, folder.resolve().name)
    tensors = _tensors(folder)
    if tensors:
        return _measured(config, folder, tensors)
    if shape is None:
        raise BaseModelError(
            f"{folder} has no safetensors files, and the layers of a {config.get('model_type')!r} are not known "
            f"without them; give a folder with weights, or one of {', '.join(MODEL_TYPES)}"
        )
    return shape


def shape_of(config: Mapping[str, Any], name: str) -> Shape:
    """The shape of one of `MODEL_TYPES` by its settings. Raises BaseModelError when one is missing."""
    read = _Settings(config, name)
    linears = tuple(_linears(config, read))
    embeddings = read.vocab * read.hidden * (1 if read.tied else 2)
    weights = sum(one.outputs * one.inputs * one.count for one in linears)
    return read.shape(embeddings + weights + _biases(config, read) + _norms(config, read), linears)


class _Settings:
    """The numbers of a `config.json`, under one name each."""

    def __init__(self, config: Mapping[str, Any], name: str) -> None:
        self._config, self.name = config, name
        self.hidden = self._count("hidden_size", "n_embd")
        self.layers = self._count("num_hidden_layers", "n_layer")
        self.heads = self._count("num_attention_heads", "n_head")
        self.intermediate = self._count("intermediate_size", "n_inner", default=4 * self.hidden)
        self.vocab = self._count("vocab_size")
        self.head_dim = self._count("head_dim", default=self.hidden // self.heads)
        self.query = self.heads * self.head_dim
        self.key_value = self._count("num_key_value_heads", default=self.heads) * self.head_dim
        default = str(config.get("model_type", "")).startswith("gemma")
        self.tied = bool(config.get("tie_word_embeddings", default))

    def _count(self, *names: str, default: int | None = None) -> int:
        value = next((self._config[name] for name in names if self._config.get(name) is not None), default)
        if type(value) is not int or value < 1:
            raise BaseModelError(f"{self.name}: {names[0]} is {value!r} in config.json; it must be a whole number")
        return value

    def shape(self, parameters: int, linears: tuple[Linear, ...]) -> Shape:
        context = self._config.get("max_position_embeddings")
        return Shape(
            name=self.name,
            hidden=self.hidden,
            layers=self.layers,
            heads=self.heads,
            query=self.query,
            key_value=self.key_value,
            intermediate=self.intermediate,
            vocab=self.vocab,
            context=context if type(context) is int else None,
            parameters=parameters,
            linears=linears,
        )


def _linears(config: Mapping[str, Any], read: _Settings) -> Iterable[Linear]:
    hidden, query, key_value, wide, count = read.hidden, read.query, read.key_value, read.intermediate, read.layers
    if config["model_type"] == "phi3":
        yield Linear("qkv_proj", query + 2 * key_value, hidden, count)
        yield Linear("o_proj", hidden, query, count)
        yield Linear("gate_up_proj", 2 * wide, hidden, count)
    else:
        yield Linear("q_proj", query, hidden, count)
        yield Linear("k_proj", key_value, hidden, count)
        yield Linear("v_proj", key_value, hidden, count)
        yield Linear("o_proj", hidden, query, count)
        yield Linear("gate_proj", wide, hidden, count)
        yield Linear("up_proj", wide, hidden, count)
    yield Linear("down_proj", hidden, wide, count)


def _biases(config: Mapping[str, Any], read: _Settings) -> int:
    attention = read.query + 2 * read.key_value
    count = 0
    if config["model_type"] == "qwen2":
        count += attention
    elif config.get("attention_bias"):
        count += attention + read.hidden
    if config.get("mlp_bias"):
        count += 2 * read.intermediate + read.hidden
    return count * read.layers


def _norms(config: Mapping[str, Any], read: _Settings) -> int:
    kind = config["model_type"]
    a_layer = (4 if kind in ("gemma2", "gemma3_text") else 2) * read.hidden
    if kind in ("qwen3", "gemma3_text"):
        a_layer += 2 * read.head_dim
    return a_layer * read.layers + read.hidden


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        document = json.loads((folder / "config.json").read_bytes())
        config = document.get("text_config", document)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise BaseModelError(
            f"{folder} has no config.json that can be read ({error}); give a model's folder, or a known model's name"
        ) from error
    if not isinstance(config, dict):
        raise BaseModelError(f"{folder}/config.json holds no settings of a model; give a model's folder")
    return config


def _tensors(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors in the folder's safetensors files."""
    found: dict[str, tuple[int, ...]] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb") as stream:
                found |= {entry.name: entry.shape for entry in read_header(stream, path.stat().st_size, path.name)}
    except MalformedSafetensors as error:
        raise BaseModelError(f"{folder} is damaged: {error.finding}; download it again") from error
    except OSError as error:
        raise BaseModelError(f"{folder} cannot be read ({error}); check its permissions") from error
    return found


def _measured(config: Mapping[str, Any], folder: Path, tensors: Mapping[str, tuple[int, ...]]) -> Shape:
    """By what is in the files. An output layer beside a tied embedding is the same weights once more."""
    read = _Settings(config, folder.resolve().name)
    kinds: Counter[tuple[str, int, int]] = Counter()
    parameters = 0
    for tensor, shape in tensors.items():
        module, _, kind = tensor.rpartition(".")
        last = module.rpartition(".")[2]
        if last == "lm_head" and read.tied:
            continue
        parameters += math.prod(shape)
        if kind == "weight" and len(shape) == 2 and last != "lm_head" and "embed" not in last:
            kinds[last, shape[0], shape[1]] += 1
    linears = tuple(Linear(name, outputs, inputs, count) for (name, outputs, inputs), count in kinds.items())
    return read.shape(parameters, linears)
