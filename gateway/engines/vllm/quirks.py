"""Known defects of engines, by version and platform, and what we do about each.

One row a defect. Some rows carry a flag that the fleet reads per engine (`Quirks`); the cure of the others is part of
how the gateway always works, and stands here so that nobody takes it out for being odd. `switchyard doctor` prints
the rows that apply to each engine. What has no number upstream (`vllm#n`, an issue or pull request) was found by
reading and running vLLM 0.30 to 0.33.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from gateway.engines.engine import Platform

Version = tuple[int, int, int]
Flag = Literal["refused", "base_needs_zero_adapter"]

UNREADABLE: Version = (999, 0, 0)
"""A version that cannot be read is taken for a new one: it is somebody's own build."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One row. `since` is the first version that has it (`None`: all before `until`), `until` the first without."""

    name: str
    effect: str
    cure: str
    upstream: str | None
    """Issues and pull requests of vLLM about it."""
    since: Version | None = None
    until: Version | None = None
    platforms: tuple[Platform, ...] = ("cpu", "gpu")
    flag: Flag | None = None
    """What the fleet does differently for an engine that has it; `None` where it works that way with every engine."""

    def applies(self, version: Version, platform: Platform) -> bool:
        """Whether an engine of this version has the defect."""
        begun = self.since is None or version >= self.since
        return begun and (self.until is None or version < self.until) and platform in self.platforms


DEFECTS: tuple[Defect, ...] = (
    Defect(
        "rank-patterns-scaled-wrongly",
        "adapters with rank_pattern or alpha_pattern get the wrong scale; PiSSA, OLoRA, aLoRA are served as plain LoRA",
        "engine refused; use 0.32 or newer",
        None,
        until=(0, 31, 0),
        flag="refused",
    ),
    Defect(
        "prefix-cache-keyed-by-name-only",
        "an adapter from another folder under a known name is answered from the old one's cache",
        "engine refused; use 0.32 or newer",
        "vllm#42125, vllm#30931",
        until=(0, 31, 0),
        flag="refused",
    ),
    Defect(
        "load-swaps-weights-in-flight",
        "after a load at run time a running request goes on with another adapter's weights (seen on 0.22 and 0.24)",
        "engine refused; use 0.32 or newer",
        "vllm#47724, fixed by vllm#47725 in July 2026",
        until=(0, 31, 0),
        flag="refused",
    ),
    Defect(
        "base-gets-an-adapter-in-mixed-batches",
        "base tokens that share a batch with adapters get the last slot's adapter, and keep it in the prefix cache",
        "the base is served through a loaded all-zero adapter, so that every token has one of its own",
        "vllm#48421, vllm#49656",
        until=(0, 33, 0),
        platforms=("cpu",),
        flag="base_needs_zero_adapter",
    ),
    Defect(
        "unload-keeps-the-slot",
        "unloading forgets the name only; the weights stay in memory until they are the least recently used",
        "what was used longest ago is unloaded first, as the engine drops it first; what it drops early is read again",
        "vllm#54839, vllm#42633",
    ),
    Defect(
        "name-reuse-kills-the-engine",
        "requests are compared by adapter name only: a name loaded again beside its old requests ends the process",
        "every load has a fresh name, never used twice on a boot, not even after a failed load",
        None,
    ),
    Defect(
        "in-place-load-reads-the-disk-every-step",
        "load_inplace sticks to the stored request, and the adapter is read from disk at every decode step",
        "load_inplace is never sent",
        "vllm#33791",
        until=(0, 33, 0),
    ),
    Defect(
        "in-place-load-serves-a-stale-cache",
        "after load_inplace the prefix cache and requests in flight mix old and new weights",
        "load_inplace is never sent",
        "vllm#42125, vllm#48352",
    ),
    Defect(
        "failed-activation-leaves-half-a-slot",
        "a load that fails half-way leaves a slot marked active with some of the new weights",
        "the name of a failed load is never asked for; the version is quarantined",
        None,
        until=(0, 33, 0),
    ),
    Defect(
        "missing-file-kills-the-engine",
        "an evicted adapter is read from disk again inside a step, and the engine dies when its files are gone",
        "files are read-only, named by content and never deleted while an engine may read them",
        "vllm#5105",
    ),
    Defect(
        "evicts-what-it-likes",
        "a load never fails for lack of room: it evicts the least recently used adapter, in use or not",
        "the controller counts places itself and keeps one free for a swap",
        None,
    ),
    Defect(
        "restart-loses-every-adapter",
        "adapters loaded at run time are gone after a restart, and their names answer 404",
        "the boot time is watched; adapters come back under fresh names before traffic does",
        "vllm#12174",
    ),
    Defect(
        "loads-without-effect",
        "layers that the model does not have are skipped without a word: load says success and the base answers",
        "inspect refuses them at publish; after a load the effect proof is asked of the engine",
        None,
    ),
    Defect(
        "loads-what-does-not-fit",
        "adapters of a smaller base, NaNs and missing halves load and serve garbage",
        "inspect compares every tensor with the base's shapes and refuses values that are not finite",
        None,
    ),
    Defect(
        "words-as-names",
        "an adapter called `text` or `image` is applied to base requests whose content is a list of such parts",
        "names on engines are a-<digest>-<n>",
        None,
    ),
    Defect(
        "prompt-logprobs-kills-the-engine",
        "log-probabilities of a prompt, while another request shares the batch, end the process when lm_head is among "
        "the modules of LoRA (run on 0.32; not known to be fixed)",
        "clients may have them only of GPU engines and of those that were started with --lora-target-modules without "
        "lm_head, which is unharmed and has to be said (SWITCHYARD_ENGINE_PROMPT_LOGPROBS); probes ask one token at a "
        "time",
        None,
        platforms=("cpu",),
    ),
)


@dataclass(frozen=True, slots=True)
class Quirks:
    """What the fleet must do differently for one engine."""

    refused: str | None
    """Why this engine may not serve at all."""
    base_needs_zero_adapter: bool
    """Serve the base through an all-zero adapter."""
    defects: tuple[Defect, ...] = ()
    """Every known defect of the engine, the cured ones too."""


def quirks_of(version: str, platform: Platform) -> Quirks:
    """The quirks of a vLLM version such as `0.32.0`; a version that cannot be read is taken for a new one."""
    number = _read(version)
    defects = tuple(defect for defect in DEFECTS if defect.applies(number, platform))
    flags = {defect.flag for defect in defects}
    refusals = [defect.effect for defect in defects if defect.flag == "refused"]
    refused = f"vLLM {version} cannot be served from: {'; '.join(refusals)}. Use 0.32 or newer" if refusals else None
    return Quirks(refused, "base_needs_zero_adapter" in flags, defects)


def _read(version: str) -> Version:
    """`0.33.0.dev7` and `0.33.0rc1` come before 0.33.0: who knows whether the fix was in."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?(\.?(?:dev|rc|a|b)\d*)?", version)
    if found is None:
        return UNREADABLE
    patch = int(found[3] or 0)
    return int(found[1]), int(found[2]), patch - 1 if found[4] else patch
