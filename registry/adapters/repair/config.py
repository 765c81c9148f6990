"""The configuration: settings that only training reads go, patterns become lists of names.

PEFT and engines run patterns of this file as regular expressions. None is run here that is not proven to be quick
(`patterns.is_safe`); which modules an adapter has, and their ranks, its tensors say themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from registry.adapters.inspect.config import (
    FIRST_NUMBER,
    HARMLESS,
    INITS,
    TRAINING_ONLY,
    UNSUPPORTED,
    Override,
    is_literal,
    layers_of,
)
from registry.adapters.repair.draft import Ground, Repair, RepairDraft, Repaired, adapted_modules, some
from registry.adapters.repair.names import INNER, OUTER, WRAPPERS
from registry.adapters.repair.patterns import MAX_MODULES, SafePatterns, is_safe, matching
from registry.storage.safetensors_header import clip

SELECTORS = ("layers_to_transform", "layers_pattern", "exclude_modules")
"""Keys by which PEFT leaves out modules that `target_modules` names; the last two may be patterns."""


def drop_training_settings(draft: RepairDraft, ground: Ground) -> Repaired:
    """Settings of training, and empty ones that nobody here knows."""
    known = HARMLESS | set(UNSUPPORTED)
    dropped = [key for key in TRAINING_ONLY if draft.config.get(key)]
    empty = [key for key, value in draft.config.items() if not value and key not in known]
    repairs = []
    if dropped:
        repairs.append(Repair("training_settings_dropped", f"left out what only training reads: {', '.join(dropped)}"))
    if empty:
        shown = some([clip(key, 40) for key in sorted(empty)])
        repairs.append(Repair("empty_settings_dropped", f"left out empty settings that are not known here: {shown}"))
    gone = {*dropped, *empty}
    kept = {key: value for key, value in draft.config.items() if key not in gone}
    return RepairDraft(kept, draft.tensors), tuple(repairs)


def forget_harmless_init(draft: RepairDraft, ground: Ground) -> Repaired:
    """An initialisation that left the base alone is of no use to a trained adapter."""
    init = draft.config.get("init_lora_weights")
    if not (isinstance(init, str) and init.lower() in INITS):
        return draft, ()
    what = f"init_lora_weights {init!r} was put to true: it left the base alone, and the weights are in the file"
    return draft.with_config(init_lora_weights=True), (Repair("init_forgotten", what),)


def make_targets_explicit(draft: RepairDraft, ground: Ground) -> Repaired:
    """`target_modules` as a list of names that stands for the adapted modules alone, without other selections."""
    config = draft.config
    targets = config.get("target_modules")
    selectors = [key for key in SELECTORS if config.get(key) not in (None, [], "")]
    modules = set(adapted_modules(draft))
    if not modules or config.get("target_parameters") or not isinstance(targets, str | list | None):
        return draft, ()
    if _leaves_out_some(config, modules):
        return draft, ()  # tensors and configuration tell different stories: the inspection says so
    if isinstance(targets, list):
        names = _names_of(targets, modules)
        if names is None or (not selectors and names == targets):
            return draft, ()
        declared = modules if selectors else None
    else:
        names, declared = [], _declared(targets, bool(selectors), modules, ground)
    listed = names if declared is None else _shortest(declared, ground)
    before = "the tensors' modules" if targets is None else clip(repr(targets), 80)
    what = f"target_modules became a list of {len(listed)} names (it was {before})"
    if selectors:
        what += f"; {', '.join(selectors)} went"
    empty = {key: None for key in SELECTORS if key in config}
    return draft.with_config(**empty, target_modules=listed), (Repair("targets_made_explicit", what),)


def _leaves_out_some(config: Mapping[str, Any], modules: set[str]) -> bool:
    """Whether the configuration leaves out modules that have tensors, as far as it says so in names and numbers."""
    layers, excluded = layers_of(config), config.get("exclude_modules")
    names = [name for name in excluded if isinstance(name, str)] if isinstance(excluded, list) else []
    rules = Override(dict.fromkeys(names, 1))
    numbers = {module: FIRST_NUMBER.match(module) for module in modules}
    outside = layers is not None and any(not found or int(found[1]) not in layers for found in numbers.values())
    return outside or any(rules.has(module) for module in modules)


def make_ranks_explicit(draft: RepairDraft, ground: Ground) -> Repaired:
    """`rank_pattern` by names. Where a key is a pattern the tensors say the ranks, within those that the file gives."""
    patterns = draft.config.get("rank_pattern")
    if not isinstance(patterns, dict) or all(is_literal(key) for key in patterns):
        return draft, ()
    usual, allowed = draft.config.get("r"), [value for value in patterns.values() if type(value) is int]
    ranks = {module: rank for module, rank in adapted_modules(draft).items() if rank != usual and rank in allowed}
    return _with_names(draft, "rank_pattern", patterns, ranks)


def make_alphas_explicit(draft: RepairDraft, ground: Ground) -> Repaired:
    """`alpha_pattern` by names. No tensor says an alpha, so its patterns are matched, where that is safe."""
    patterns = draft.config.get("alpha_pattern")
    if not isinstance(patterns, dict) or all(is_literal(key) for key in patterns):
        return draft, ()
    rules, modules = SafePatterns.of(patterns), adapted_modules(draft)
    if rules is None or len(modules) > MAX_MODULES:
        return draft, ()  # the inspection refuses it
    found = {module: value for module in modules if (value := rules.get(module)) is not None}
    return _with_names(draft, "alpha_pattern", patterns, found)


def _with_names(draft: RepairDraft, key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Repaired:
    what = f"{key} names {len(after)} modules (it was {clip(repr(list(before)), 80)})"
    return draft.with_config(**{key: dict(sorted(after.items()))}), (Repair(f"{key}_made_explicit", what),)


def _names_of(targets: list[Any], modules: set[str]) -> list[str] | None:
    """The list's names, without wrappers of training, when they cover all adapted modules; else None."""
    literal = [name for name in targets if isinstance(name, str) and is_literal(name)]
    bare = [_without_wrappers(name) for name in literal]
    inner = [".".join(part for part in name.split(".") if part != INNER) for name in bare]
    for names in (literal, list(dict.fromkeys(bare)), list(dict.fromkeys(inner))):
        rules = Override(dict.fromkeys(names, 1))
        if names and all(rules.has(module) for module in modules):
            return names
    return None


def _without_wrappers(name: str) -> str:
    inner = ".".join(part for part in name.split(".") if part not in WRAPPERS)
    for outer in OUTER[:2]:
        inner = inner.removeprefix(outer)
    return inner


def _declared(targets: str | None, selective: bool, modules: set[str], ground: Ground) -> set[str]:
    """The modules that a textual `target_modules` stands for, at least those that have tensors."""
    if not targets or selective:
        return modules
    if targets == "all-linear":
        return modules | {name for name in ground.base.linears if not _is_left_out(name)}
    everything = [*ground.base.linears, *ground.base.embeddings]
    if is_safe(targets) and len(everything) <= MAX_MODULES:
        matched = set(matching(targets, everything))
        return matched if matched >= modules else modules
    return modules


def _is_left_out(module: str) -> bool:
    """PEFT leaves the output layer out of `all-linear`, and holds experts as one parameter that it cannot target."""
    return module.rpartition(".")[2] == "lm_head" or ".experts." in module


def _shortest(modules: set[str], ground: Ground) -> list[str]:
    """The last parts of the modules' names where those stand for just these modules in the base, else whole names."""
    last = {module.rpartition(".")[2] for module in modules}
    named = {module for module in (*ground.base.linears, *ground.base.embeddings) if module.rpartition(".")[2] in last}
    return sorted(last if named == modules else modules)


CONFIG_REPAIRS: tuple[Callable[[RepairDraft, Ground], Repaired], ...] = (
    drop_training_settings,
    forget_harmless_init,
    make_targets_explicit,
    make_ranks_explicit,
    make_alphas_explicit,
)
"""In this order."""
