"""`adapter_config.json`: refuse what vLLM refuses, what it ignores although it matters, and what nobody here knows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from registry.adapters.inspect.findings import Findings
from registry.adapters.inspect.folder import open_regular
from registry.adapters.version_files import CONFIG_FILE
from registry.storage.strict_json import NotStrictJson, strict_json

MAX_NAMES = 50_000
MAX_NAME_LENGTH = 256
FIRST_NUMBER = re.compile(r".*?\.[^.]*\.([0-9]{1,6})\.")
"""The number that `layers_to_transform` means (PEFT's rule where there is no `layers_pattern`)."""
LITERAL = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")

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

TRAINING_ONLY = (
    "auto_mapping", "corda_config", "eva_config", "loftq_config", "lora_ga_config", "runtime_config", "velora_config",
)  # fmt: skip
"""Keys that an adapter's values do not depend on once it is trained. Some name code, which PEFT may import."""

REASONS = {
    "use_dora": "plain LoRA: DoRA scales whole rows of the base's weights, which no low-rank update can do. "
    "Train again without use_dora, or merge it into a model of its own",
    "modules_to_save": "LoRA alone: vLLM serves the base's own layers. Train without it; add LoRA to those layers "
    "instead (target_modules)",
    "init_lora_weights": "plain LoRA: this init took part of the base into the adapter. Where it was trained, save it "
    "with model.save_pretrained(FOLDER, path_initial_model_for_weight_conversion=INITIAL_ADAPTER_FOLDER)",
}
"""What to do about the features that people meet most."""

KINDS: Mapping[str, tuple[type, ...]] = {
    "base_model_name_or_path": (str,), "revision": (str,), "peft_version": (str,), "megatron_core": (str,),
    "inference_mode": (bool,), "ensure_weight_tying": (bool,), "lora_dropout": (int, float),
    "qalora_group_size": (int,),
}  # fmt: skip
"""What the rest of the keys hold, or null: PEFT breaks off, or does something else, where one holds another thing."""

INITS = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga"})
"""Initialisations that leave the base's weights alone (vLLM's list); PiSSA, OLoRA, CorDA and LoftQ do not."""


def is_literal(name: str) -> bool:
    """Whether a key or a target is a module's name, or the end of one, and no pattern."""
    return len(name) <= MAX_NAME_LENGTH and LITERAL.fullmatch(name) is not None


class Override:
    """Positive values by module name: the first key that is its name, or ends that at a dot, wins (PEFT's rule)."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = {key: (place, value) for place, (key, value) in enumerate(values.items())}

    def get(self, module: str, default: float) -> float:
        """The value for `module`, else `default`."""
        parts = module.split(".")
        ends = (".".join(parts[place:]) for place in range(len(parts)))
        found = [self._values[end] for end in ends if end in self._values]
        return min(found)[1] if found else default

    def has(self, module: str) -> bool:
        """Whether a key stands for `module`."""
        return self.get(module, 0) > 0


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """What the rest of the inspection needs of a sound configuration.

    `complete` says whether every module that `targets` matches must have tensors: not so where the configuration
    leaves out layers or modules: by `excluded`, or because only `layers` are adapted (None for all).
    """

    rank: int
    max_rank: int
    alpha: float
    use_rslora: bool
    targets: Override
    complete: bool
    ranks: Override
    excluded: Override
    layers: frozenset[int] | None

    def adapts(self, module: str) -> bool:
        """Whether PEFT adapts the module that has tensors: elsewhere it passes over them."""
        layer = FIRST_NUMBER.match(module)
        outside = self.layers is not None and (layer is None or int(layer[1]) not in self.layers)
        return self.targets.has(module) and not self.excluded.has(module) and not outside

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
    excluded = document.get("exclude_modules")
    layers = layers_of(document)
    return LoraConfig(
        rank=rank,
        max_rank=highest,
        alpha=float(alpha),
        use_rslora=document.get("use_rslora") is True,
        targets=targets,
        complete=not excluded and layers is None,
        ranks=Override(ranks),
        excluded=Override(dict.fromkeys(excluded, 1) if isinstance(excluded, list) and _are_names(excluded) else {}),
        layers=layers,
    )


def layers_of(document: Mapping[str, Any]) -> frozenset[int] | None:
    """The layers that `layers_to_transform` gives; None for all of them, or where a pattern says what a layer is."""
    value = document.get("layers_to_transform")
    numbers = value if isinstance(value, list) else [value]
    if value in (None, []) or document.get("layers_pattern") or not all(type(number) is int for number in numbers):
        return None
    return frozenset(numbers)


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
            refuse("feature_unsupported", key, REASONS.get(key, "the feature off: vLLM cannot serve it"))
    for key in TRAINING_ONLY:
        if document.get(key):
            refuse("training_setting", key, "no such setting, which training alone reads; `switchyard adapters import`")
    if document.get("bias", "none") != "none":
        refuse("feature_unsupported", "bias", "'none': vLLM does not apply trained biases")
    init = document.get("init_lora_weights", True)
    if not (init is None or isinstance(init, bool) or (isinstance(init, str) and init.lower() in INITS)):
        refuse("init_unsupported", "init_lora_weights", REASONS["init_lora_weights"])
    _check_kinds(document, findings)
    for key in ("use_rslora", "fan_in_fan_out"):
        if not isinstance(document.get(key, False), bool):
            refuse("setting_invalid", key, "true or false")
    for key in sorted(document.keys() - HARMLESS - set(UNSUPPORTED)):
        if document[key]:
            findings.add(
                "setting_unknown", CONFIG_FILE, f"{key} = {document[key]!r}", "settings that are known to be safe"
            )


def _check_kinds(document: Mapping[str, Any], findings: Findings) -> None:
    for key, kinds in KINDS.items():
        value = document.get(key)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            expected = " or ".join(kind.__name__ for kind in kinds)
            findings.add("setting_invalid", CONFIG_FILE, f"{key} {value!r}", expected)
    dropout = document.get("lora_dropout")
    if isinstance(dropout, int | float) and not 0 <= dropout <= 1:
        findings.add("setting_invalid", CONFIG_FILE, f"lora_dropout {dropout!r}", "a number from 0 to 1")
    if document.get("megatron_core") not in (None, "megatron.core"):  # PEFT imports what it names
        found = f"megatron_core {document['megatron_core']!r}"
        findings.add("setting_invalid", CONFIG_FILE, found, "'megatron.core' or null")


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
    """The value of `rank_pattern` or `alpha_pattern`, positive numbers by module name; None when it is refused."""
    values = document.get(key) or {}
    if not isinstance(values, dict) or len(values) > MAX_NAMES:
        findings.add("pattern_invalid", CONFIG_FILE, f"{key} {values!r}", f"an object of at most {MAX_NAMES} keys")
        return None
    is_rank = key == "rank_pattern"
    bad = {
        name: value
        for name, value in values.items()
        if not (_is_positive(value) and (type(value) is int or not is_rank))
    }
    if bad:
        expected = "positive whole numbers" if is_rank else "positive numbers"
        findings.add("pattern_invalid", CONFIG_FILE, f"{key} {bad!r}", expected)
    unnamed = [name for name in values if not is_literal(name)]
    if unnamed:
        findings.add(
            "pattern_not_explicit", CONFIG_FILE, f"{key} {unnamed!r}", f"module names; {findings.for_patterns}"
        )
        return None
    return None if bad else values


def _targets(document: Mapping[str, Any], findings: Findings) -> Override | None:
    """`target_modules` as names. PEFT would run a textual value, and the two keys beside it, as regular expressions."""
    for key in ("exclude_modules", "layers_pattern"):
        value = document.get(key)
        if value and not _are_names([value] if key == "layers_pattern" and isinstance(value, str) else value):
            findings.add(
                "pattern_not_explicit", CONFIG_FILE, f"{key} {value!r}", f"a list of names; {findings.for_patterns}"
            )
    layers = document.get("layers_to_transform")
    layers = layers if isinstance(layers, list) else [] if layers is None else [layers]
    if not all(type(layer) is int and 0 <= layer < MAX_NAMES for layer in layers):
        findings.add("setting_invalid", CONFIG_FILE, f"layers_to_transform {layers!r}", "numbers of layers")
    targets = document.get("target_modules")
    if isinstance(targets, list) and targets and _are_names(targets):
        return Override(dict.fromkeys(targets, 1))
    if isinstance(targets, str) and targets:
        expected = f"a list of module names; {findings.for_patterns}"
        findings.add("pattern_not_explicit", CONFIG_FILE, f"target_modules {targets!r}", expected)
    else:
        findings.add("targets_invalid", CONFIG_FILE, f"target_modules {targets!r}", "a list of module names")
    return None


def _are_names(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= MAX_NAMES
        and all(isinstance(value, str) and is_literal(value) for value in values)
    )
