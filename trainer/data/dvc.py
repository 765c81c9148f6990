"""Rows that DVC tracks, by reference: a `.dvc` file stands for the file that it names, which is read where it lies.

Nothing of DVC is needed. The file is taken from beside the reference, else from DVC's cache; what is there must have
the MD5 that the reference names, so that a training uses the rows that were committed.
"""

from __future__ import annotations

import configparser
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry.errors import first_line
from trainer.data.faults import DataError, Fault

SUFFIX = ".dvc"
MAX_REFERENCE_BYTES = 65_536


def located(file: Path) -> Path:
    """The file itself, or the one that a `.dvc` file stands for. Raises DataError when that is not there."""
    if file.suffix != SUFFIX:
        return file
    out = _out(file)
    md5, data = str(out["md5"]), file.parent / str(out["path"])
    if md5.endswith(".dir"):
        raise _error(file, "dvc_folder", f"stands for a folder ({out['path']}); name one file of rows")
    if data.is_file():
        if _has(data, md5, legacy="hash" not in out):
            return data
        text = f"{out['path']} beside it is not what it names (md5 {md5}); `dvc checkout {file.name}`, or `dvc commit`"
        raise _error(file, "dvc_changed", text)
    cached = next((one for one in _cached(file, md5) if one.is_file()), None)
    if cached is None:
        raise _error(
            file, "dvc_not_pulled", f"{out['path']} is not here and not in DVC's cache; `dvc pull {file.name}`"
        )
    if not _has(cached, md5, legacy="hash" not in out):
        raise _error(file, "dvc_changed", f"DVC's cache is damaged: {cached} is not {md5}; `dvc pull {file.name}` anew")
    return cached


def _out(file: Path) -> dict[str, Any]:
    import yaml

    try:
        with file.open("rb") as stream:
            document = yaml.safe_load(stream.read(MAX_REFERENCE_BYTES))
        outs = document["outs"]
        if len(outs) != 1 or not {"md5", "path"} <= outs[0].keys():
            raise ValueError("it must name one file with its md5")
    except OSError as failed:
        raise _error(
            file, "unreadable", f"cannot be read ({failed.strerror}); give a file that you may read"
        ) from failed
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as failed:
        reason = f"{first_line(failed):.120}"
        raise _error(
            file, "dvc_reference", f"is no reference of DVC's ({reason}); name the .dvc file of one data file"
        ) from failed
    return dict(outs[0])


def _cached(file: Path, md5: str) -> Iterator[Path]:
    """Where DVC 3 and DVC 2 keep it."""
    root = next((folder for folder in file.resolve().parents if (folder / ".dvc").is_dir()), None)
    if root is None or len(md5) < 3 or not md5.isalnum():
        return
    for cache in _caches(root / ".dvc"):
        yield cache / "files" / "md5" / md5[:2] / md5[2:]
        yield cache / md5[:2] / md5[2:]


def _caches(folder: Path) -> Iterator[Path]:
    for name in ("config.local", "config"):
        settings = configparser.ConfigParser(interpolation=None)
        try:
            settings.read(folder / name, "utf-8")
            yield folder / settings.get("cache", "dir")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
    yield folder / "cache"


def _has(file: Path, md5: str, *, legacy: bool) -> bool:
    """Whether the file's digest is that; before DVC 3, a text's digest was taken with Unix line ends."""
    digest, unix = hashlib.md5(usedforsecurity=False), hashlib.md5(usedforsecurity=False)
    with file.open("rb") as stream:
        while line := stream.readline(1 << 20):
            digest.update(line)
            unix.update(line.replace(b"\r\n", b"\n"))
    return md5 in (digest.hexdigest(), unix.hexdigest() if legacy else None)


def _error(file: Path, code: str, text: str) -> DataError:
    return DataError((str(file), [Fault(1, code, text)]))
