"""Decide whether an adapter may be published: can vLLM serve it, and will it serve it rightly?

vLLM itself checks little. It takes an adapter of another base, of a smaller base, with layers that the model does not
have, with NaN in it, or with half of its tensors missing; it answers 200 and serves garbage or the plain base model.
So everything is checked here, before the registry keeps a byte, and all reasons are told at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry.adapters.inspect.config import read_config
from registry.adapters.inspect.findings import MAX_FINDINGS, Findings
from registry.adapters.inspect.folder import check_folder
from registry.adapters.inspect.tensors import read_tensors
from registry.adapters.version_files import CONFIG_FILE, WEIGHTS_FILE
from registry.bases.model import BaseSpec
from registry.errors import AdapterRefused

__all__ = ["MAX_FINDINGS", "AdapterFacts", "inspect_adapter"]


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What an admitted adapter is. `size_bytes` and `dtype` are of the weights file.

    `rank` is the largest that it needs of an engine's `--max-lora-rank`, `alpha` and `use_rslora` are the
    configuration's, `target_modules` the last parts of the adapted modules' names, `modules` how many there are.
    `dtype` is `float16`, `bfloat16` or `float32`; several are joined by `+`.
    """

    rank: int
    alpha: float
    use_rslora: bool
    target_modules: tuple[str, ...]
    parameter_count: int
    size_bytes: int
    dtype: str
    modules: int


def inspect_adapter(
    folder: Path, base: BaseSpec, *, max_rank: int, declared_base: str | None = None, imported: bool = False
) -> AdapterFacts:
    """Admit the PEFT folder as an adapter of `base`, or raise `AdapterRefused` with every reason found (at most 20).

    `max_rank` is the engines' `--max-lora-rank`. `declared_base` is the digest of the base that the adapter was
    trained on, when that is known. `imported` says that repairs were tried before, so that no reason advises them.
    Reads the weights once and keeps one megabyte of them at a time.
    """
    findings = Findings(imported=imported)
    if declared_base is not None and declared_base != base.digest:
        findings.add("base_mismatch", "lineage", f"trained on {declared_base}", f"base {base.digest}")
    files = check_folder(folder, base, max_rank, findings)
    config = read_config(files[CONFIG_FILE], max_rank, findings) if CONFIG_FILE in files else None
    weights = read_tensors(files[WEIGHTS_FILE], base, config, findings) if WEIGHTS_FILE in files else None
    if findings or config is None or weights is None:
        raise AdapterRefused(findings.as_tuple())
    return AdapterFacts(
        rank=config.max_rank,
        alpha=config.alpha,
        use_rslora=config.use_rslora,
        target_modules=weights.targets,
        parameter_count=weights.parameters,
        size_bytes=weights.size_bytes,
        dtype=weights.dtype,
        modules=weights.modules,
    )
