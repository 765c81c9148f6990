"""Export a version: into a folder that appears complete or not at all, with where it came from, checked."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from registry.adapters.version_files import CONFIG_FILE, WEIGHTS_FILE
from registry.adapters.version_rows import VersionInfo
from registry.names import AdapterRef
from registry.service import Registry
from trainer.base import PROVENANCE_FILE
from trainer.errors import TrainerError
from trainer.export.checking import Check
from trainer.folders import built_beside
from trainer.making import set_environment
from trainer.prove import find_base

Form = Literal["peft", "merged", "gguf"]
WeightType = Literal["bfloat16", "float32", "f16", "bf16", "f32", "q8_0"]
TYPES: dict[Form, tuple[WeightType, ...]] = {
    "peft": (),
    "merged": ("bfloat16", "float32"),
    "gguf": ("f16", "bf16", "f32", "q8_0"),
}
"""The types that weights of each form can have; the first is the default."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What to export. `base` is the base's folder, None to look for it; `type` None for the form's first."""

    ref: AdapterRef
    form: Form
    out: Path
    base: Path | None = None
    type: WeightType | None = None

    @property
    def weights(self) -> WeightType | None:
        """The type in force. Raises TrainerError for one that the form has not."""
        known = TYPES[self.form]
        if self.type is not None and self.type not in known:
            there = f"one of {', '.join(known)}" if known else "none: the adapter's bytes are copied"
            raise TrainerError(f"type is {self.type!r}, and --as {self.form} has {there}")
        return self.type or next(iter(known), None)


@dataclass(frozen=True, slots=True)
class Exported:
    """What lies in `folder` now; `check` is None where bytes were copied."""

    version: VersionInfo
    folder: Path
    files: tuple[str, ...]
    check: Check | None


def export(asked: Asked, registry: Registry, say: Say = lambda _: None) -> Exported:
    """Write the version into a folder that is not there yet, or empty.

    Raises TrainerError when it cannot be written or is not what was meant, BaseModelError without its base, NotFound.
    """
    set_environment()
    weights = asked.weights
    version = registry.adapters.get(asked.ref)
    if asked.out.exists() and (not asked.out.is_dir() or any(asked.out.iterdir())):
        raise TrainerError(f"{asked.out} is there already; give a folder that is not there, or an empty one")
    files = registry.version_files.materialise(version.manifest_digest)
    base = None if asked.form == "peft" else find_base(registry, version, asked.base)
    try:
        with built_beside(asked.out.absolute()) as folder:
            check = _write(asked.form, weights, (files, base, folder), version, say)
            facts = provenance(version, registry.bases.get(version.base_digest).name, asked.form, weights, check)
            (folder / PROVENANCE_FILE).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", "utf-8")
            for file in folder.iterdir():
                file.chmod(0o644)
            names = tuple(sorted(file.name for file in folder.iterdir()))
    except OSError as error:
        raise TrainerError(f"{asked.out} could not be written: {error}; make room, or give another folder") from error
    return Exported(version, asked.out, names, check)


def provenance(
    version: VersionInfo, base: str, form: Form, weights: WeightType | None, check: Check | None
) -> dict[str, Any]:
    """Where exported files came from: `provenance.json` beside them."""
    return {
        "version": version.name,
        "manifest_digest": version.manifest_digest,
        "base": {"name": base, "digest": version.base_digest},
        "lineage": version.lineage,
        "form": form,
        "weights": weights,
        "check": check and asdict(check),
        "switchyard": metadata.version("switchyard"),
    }


def _write(
    form: Form, weights: Any, places: tuple[Path, Path | None, Path], version: VersionInfo, say: Say
) -> Check | None:
    files, base, out = places
    if base is None:
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            shutil.copyfile(files / name, out / name)
        return None
    from trainer.export.merged import write_merged

    if form == "merged":
        say(f"merging {version.name} into its base, and reading it back")
        return write_merged(base, files, out, weights).check
    from trainer.export.gguf_file import check_architecture, check_gguf, write_gguf
    from trainer.export.gguf_tokenizer import check_tokenizer

    check_architecture(base)
    check_tokenizer(base)
    with tempfile.TemporaryDirectory(prefix="switchyard-merged-", dir=out.parent) as between:
        folder = Path(between)
        say(f"merging {version.name} into its base")
        merged = write_merged(base, files, folder, "float32")
        file = out / f"{version.tenant}-{version.adapter}-{version.version}-{weights}.gguf"
        say(f"writing {file.name}")
        write_gguf(folder, file, weights, version.name)
        say("reading it back")
        return check_gguf(file, folder, merged, weights)
