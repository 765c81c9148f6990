"""Tensors that are no LoRA: whole layers and biases, which engines pass over and serve the base's instead.

So those that equal the base's may go, and no others may: where training has changed them, the adapter is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from registry.adapters.repair.draft import PREFIX, Ground, Repair, RepairDraft, Repaired, half_of, some
from registry.errors import AdapterRefused, Finding
from registry.storage.safetensors_header import clip

FILE = "adapter_model.safetensors"
UNUSED = re.compile(r".+\.original_module\.[^.]+")
"""PEFT's copy of a layer that `modules_to_save` replaces: never used while the adapter is on."""

LORA_BIAS = re.compile(r".+\.lora_B(?:\.[^.]+)?\.bias")
TRAINED_OTHERWISE = ("lora_magnitude_vector", "trainable_tokens", "lora_ga", "lora_E")
"""In names of tensors that belong to features which the inspection refuses by name."""

TIED = ("lm_head", "embed_tokens")
INSIDE = re.compile(r"\.(?:base_layer|modules_to_save\.[^.]+)(?=\.[^.]+$)")
"""What PEFT's wrappers put between a layer and its parameter."""


def drop_zero_lora_biases(draft: RepairDraft, ground: Ground) -> Repaired:
    """`lora_B.bias` that is zero all over adds nothing; `lora_bias` goes with the last of them."""
    biases = [name for name in draft.tensors if LORA_BIAS.fullmatch(name)]
    trained = [name for name in biases if not ground.values.is_zero(draft.tensors[name])]
    if trained or not (biases or draft.config.get("lora_bias") is True):
        return draft, ()
    kept = {name: entry for name, entry in draft.tensors.items() if name not in set(biases)}
    what = f"lora_bias was put off: {f'all {len(biases)} biases are 0' if biases else 'the file holds no biases'}"
    return RepairDraft(draft.config, kept).with_config(lora_bias=False), (Repair("zero_biases_dropped", what),)


def drop_copies_of_the_base(draft: RepairDraft, ground: Ground) -> Repaired:
    """Whole layers and biases that equal the base's, and `modules_to_save` and `bias` when nothing else was theirs.

    Raises `AdapterRefused` for what differs from the base, and for what cannot be compared because the base's folder
    is not at hand.
    """
    whole = [name for name in draft.tensors if _is_whole(name)]
    findings = [finding for name in whole if (finding := _fault(name, draft, ground)) is not None]
    if findings:
        raise AdapterRefused(tuple(findings[:20]))
    kept = {name: entry for name, entry in draft.tensors.items() if name not in set(whole)}
    repairs = []
    if whole:
        shown = some([clip(name.removeprefix(PREFIX), 100) for name in sorted(whole)])
        repairs.append(Repair("copies_of_base_dropped", f"left out what equals the base: {shown}"))
    config = dict(draft.config)
    if whole and _are_all_copies(config.get("modules_to_save"), whole, ground):
        repairs.append(Repair("modules_to_save_dropped", f"modules_to_save {_shown(config)} was put to null with it"))
        config["modules_to_save"] = None
    if config.get("bias") in ("all", "lora_only"):  # what was there equals the base's, or nothing was
        repairs.append(Repair("bias_dropped", f"bias {config['bias']!r} was put to 'none': no trained bias is there"))
        config["bias"] = "none"
    return RepairDraft(config, kept), tuple(repairs)


def _are_all_copies(modules: object, whole: list[str], ground: Ground) -> bool:
    """Whether each of `modules_to_save` is one of the copies; a tied base has its two embeddings in one."""
    if not isinstance(modules, list) or not modules or not all(isinstance(module, str) for module in modules):
        return False
    copied = {INSIDE.sub("", name).rpartition(".")[0] for name in whole if not UNUSED.fullmatch(name)}
    if ground.base.tied_embeddings and any(module.endswith(TIED) for module in copied):
        copied |= set(TIED)
    return all(any(copy == module or copy.endswith(f".{module}") for copy in copied) for module in modules)


def _shown(config: dict[str, object]) -> str:
    return clip(repr(config["modules_to_save"]), 100)


def _is_whole(name: str) -> bool:
    if half_of(name) or LORA_BIAS.fullmatch(name):
        return False
    return not any(part.startswith(TRAINED_OTHERWISE) for part in name.split("."))


def _fault(name: str, draft: RepairDraft, ground: Ground) -> Finding | None:
    """Why a tensor may not be left out."""
    entry, values = draft.tensors[name], ground.values
    if UNUSED.fullmatch(name):
        return None
    in_base = INSIDE.sub("", name.removeprefix(PREFIX))
    if name.endswith(".bias") and values.base_has(in_base) is False and values.is_zero(entry):
        return None
    same = values.is_base(entry, in_base)
    if same:
        return None
    shown = clip(entry.name, 200)
    if same is None:
        expected = "the base's folder, to see whether this equals it: switchyard base register NAME FOLDER"
        return Finding("base_not_at_hand", FILE, "a whole tensor, and no base to compare it with", expected, shown)
    if not values.base_has(in_base):
        expected = "LoRA tensors, and whole ones only where they equal the base's"
        return Finding("tensor_unsupported", FILE, "a tensor of another kind", expected, shown)
    expected = (
        "the base's own values: engines serve those. Train without modules_to_save, biases and resized embeddings"
    )
    return Finding("tensor_trained", FILE, "a whole tensor that differs from the base's", expected, shown)


FULL_TENSOR_REPAIRS: tuple[Callable[[RepairDraft, Ground], Repaired], ...] = (
    drop_zero_lora_biases,
    drop_copies_of_the_base,
)
"""In this order."""
