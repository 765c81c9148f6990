"""`adapter_config.json`: refuse what vLLM refuses, what it ignores although it matters, and what nobody here knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from registry.inspect.findings import Findings
from registry.inspect.folder import CONFIG_FILE, open_regular
from registry.inspect.patterns import Override, is_safe, too_many_loose
from registry.strict_json import NotStrictJson, strict_json

MAX_PATTERN_KEYS = 4096

UNSUPPORTED = (
    "use_dora", "lora_bias", "modules_to_save", "alora_invocation_tokens", "layer_replication", "use_bdlora",
    "use_qalora", "trainable_token_indices", "target_parameters", "megatron_config", "arrow_config", "kasa_config",
    "monteclora_config",
)  # fmt: skip
"""PEFT features that change what the adapter computes and that vLLM refuses, or serves otherwise than PEFT."""

HARMLESS = frozenset({
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config", "ensure_weight_tying",
    "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config", "megatron_core",
    "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config",
    "target_modules", "task_type", "unsloth_fixed", "use_rslora", "velora_config",
})  # fmt: skip
"""Keys that are judged below, or that matter only while training."""

INITS = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga"})
"""Initialisations that leave the base's weights alone (vLLM's list); PiSSA, OLoRA, CorDA and LoftQ do not."""


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """What the rest of the inspection needs of a sound configuration.

    `complete` says whether every module that `targets` matches must have tensors: not so where the configuration
    leaves out layers or modules.
    """

    rank: int
    max_rank: int
    alpha: float
    use_rslora: bool
    targets: str | tuple[str, ...]
    complete: bool
    ranks: Override

    def rank_of(self, module: str) -> int:
        """The rank of one module, `rank_pattern` counted in."""
        return int(self.ranks.get(module, self.rank))


def read_config(path: Path, max_rank: int, findings: Findings) -> LoraConfig | None:
    """The configuration, or None when a fault leaves the tensors without a measure. Faults go to `findings`."""
    document = _load(path, findings)
    if document is None:
        return None
    _check_features(document, findings)
    rank = _rank(document, findings)
    alpha = document.get("lora_alpha")
    if not _is_positive(alpha):
        findings.add("alpha_invalid", CONFIG_FILE, f"lora_alpha {alpha!r}", "a positive number")
    ranks = _pattern(document, "rank_pattern", findings)
    alphas = _pattern(document, "alpha_pattern", findings)
    targets = _targets(document, findings)
    if rank is None or ranks is None:
        return None
    highest = max([rank, *(int(value) for value in ranks.values())])
    if highest > max_rank:
        findings.add(
            "rank_too_high", CONFIG_FILE, f"rank {highest}", f"at most {max_rank}, the engines' --max-lora-rank"
        )
    if alphas is None or targets is None or not _is_positive(alpha):
        return None
    partial = document.get("exclude_modules") or document.get("layers_to_transform") is not None
    return LoraConfig(
        rank, highest, float(alpha), document.get("use_rslora") is True, targets, not partial, Override(ranks)
    )


def _load(path: Path, findings: Findings) -> dict[str, Any] | None:
    try:
        with open_regular(path) as (stream, _):
            raw = stream.read()
        document = strict_json(raw)
    except OSError as error:
        findings.add("file_unreadable", CONFIG_FILE, error.strerror or error, "a readable file")
        return None
    except NotStrictJson as error:
        findings.add("config_not_json", CONFIG_FILE, error, "a JSON object in UTF-8, every key once")
        return None
    if not isinstance(document, dict):
        findings.add("config_not_json", CONFIG_FILE, f"a JSON {type(document).__name__}", "a JSON object")
        return None
    return document


def _check_features(document: Mapping[str, Any], findings: Findings) -> None:
    def refuse(code: str, key: str, expected: str) -> None:
        findings.add(code, CONFIG_FILE, f"{key} {document.get(key)!r}", expected)

    if document.get("peft_type") != "LORA":
        refuse("peft_type_unsupported", "peft_type", "'LORA'")
    if document.get("task_type") not in (None, "CAUSAL_LM"):
        refuse("task_type_unsupported", "task_type", "'CAUSAL_LM' or null")
    for key in UNSUPPORTED:
        if document.get(key):
            refuse("feature_unsupported", key, "the feature off: vLLM cannot serve it")
    if document.get("bias", "none") != "none":
        refuse("feature_unsupported", "bias", "'none': vLLM does not apply trained biases")
    init = document.get("init_lora_weights", True)
    if not (init is None or isinstance(init, bool) or (isinstance(init, str) and init.lower() in INITS)):
        refuse(
            "init_unsupported",
            "init_lora_weights",
            "an init that leaves the base alone; convert to plain LoRA with PEFT",
        )
    for key in ("use_rslora", "fan_in_fan_out"):
        if not isinstance(document.get(key, False), bool):
            refuse("setting_invalid", key, "true or false")
    for key in sorted(document.keys() - HARMLESS - set(UNSUPPORTED)):
        if document[key]:
            findings.add(
                "setting_unknown", CONFIG_FILE, f"{key} = {document[key]!r}", "settings that are known to be safe"
            )


def _rank(document: Mapping[str, Any], findings: Findings) -> int | None:
    rank = document.get("r")
    if type(rank) is int and rank > 0:
        return rank
    findings.add("rank_invalid", CONFIG_FILE, f"r {rank!r}", "a positive whole number")
    return None


def _is_positive(value: object) -> TypeGuard[int | float]:
    """A finite number above zero that a float can hold; `True` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value < 2**63 and math.isfinite(value)


def _pattern(document: Mapping[str, Any], key: str, findings: Findings) -> dict[str, float] | None:
    """The value of `rank_pattern` or `alpha_pattern`, positive numbers by safe pattern; None when it is refused."""
    values = document.get(key) or {}
    if not isinstance(values, dict) or len(values) > MAX_PATTERN_KEYS:
        findings.add(
            "pattern_invalid", CONFIG_FILE, f"{key} {values!r}", f"an object of at most {MAX_PATTERN_KEYS} keys"
        )
        return None
    is_rank = key == "rank_pattern"
    bad = {
        name: value
        for name, value in values.items()
        if not (_is_positive(value) and (type(value) is int or not is_rank))
    }
    if bad:
        findings.add(
            "pattern_invalid",
            CONFIG_FILE,
            f"{key} {bad!r}",
            "positive whole numbers" if is_rank else "positive numbers",
        )
    unsafe = [name for name in values if not is_safe(name)]
    if unsafe or too_many_loose(values):
        shown = unsafe or list(values)
        findings.add("pattern_unsafe", CONFIG_FILE, f"{key} {shown!r}", "module names, with few wildcards or choices")
        return None
    return None if bad else values


def _targets(document: Mapping[str, Any], findings: Findings) -> str | tuple[str, ...] | None:
    excluded = document.get("exclude_modules")
    if isinstance(excluded, str) and not is_safe(excluded):
        findings.add("pattern_unsafe", CONFIG_FILE, f"exclude_modules {excluded!r}", "a list of module names")
    targets = document.get("target_modules")
    if isinstance(targets, str) and targets:
        if targets == "all-linear" or is_safe(targets):
            return targets
        findings.add("pattern_unsafe", CONFIG_FILE, f"target_modules {targets!r}", "a list of module names")
    elif isinstance(targets, list) and targets and all(isinstance(item, str) and item for item in targets):
        return tuple(targets)
    else:
        findings.add("targets_invalid", CONFIG_FILE, f"target_modules {targets!r}", "a list of module names")
    return None
