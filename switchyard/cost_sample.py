"""`cost report --sample FILE`: texts counted by our base's tokenizer and by each baseline's, where it is installed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cost.assumptions import TokenRatio
from gateway.cost.recount import Count, Sampled, recounted
from registry.errors import InvalidInput
from switchyard.console import say

if TYPE_CHECKING:
    from registry.service import Registry

MOST_TEXTS = 10_000
MOST_BYTES = 64 * 1024 * 1024
"""Of a sample: what is behind is not read."""


def ratios_of(
    registry: Registry, file: Path, base: str | None, baselines: Sequence[str], price_version: str | None
) -> Mapping[str, TokenRatio]:
    """By baseline, of those whose tokenizer is installed; of the others a line on stderr says why not.

    Raises `InvalidInput` for a sample that cannot be read, or where it is not known by which base our tokens count.
    """
    sample = list(read_sample(file))
    ours = _our_count(registry, base)
    found = {}
    for name in baselines:
        tokenizer = registry.baselines.info(name, price_version).tokenizer
        theirs, why_not = count_of(tokenizer)
        ratio = None if theirs is None else recounted(sample, ours, theirs, tokenizer or "", file.name)
        if ratio is None:
            say(f"{name}: tokens are assumed to be as many as ours: {why_not or 'the sample is empty'}", err=True)
        else:
            found[name] = ratio
    return found


def read_sample(file: Path) -> Iterator[Sampled]:
    """Rows of training data (`messages`, or `prompt` and `completion`), or a text a line. Raises `InvalidInput`."""
    try:
        with file.open("rb") as lines:
            text = lines.read(MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"sample is {str(file)!r}, which cannot be read as UTF-8: {error}", param="sample") from None
    for number, line in enumerate(text.splitlines()):
        if number >= MOST_TEXTS:
            return
        if line.strip():
            yield _sampled(line)


def _sampled(line: str) -> Sampled:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        return Sampled(line, "")
    if isinstance(row.get("messages"), list):
        texts = [(one.get("role"), _text(one.get("content"))) for one in row["messages"] if isinstance(one, dict)]
        last = texts[-1][1] if texts and texts[-1][0] == "assistant" else ""
        return Sampled("\n".join(text for _, text in (texts[:-1] if last else texts)), last)
    return Sampled(_text(row.get("prompt", row.get("text"))), _text(row.get("completion")))


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _our_count(registry: Registry, base: str | None) -> Count:
    known = registry.bases.all()
    if base is None and len(known) != 1:
        names = ", ".join(one.name for one in known) or "none"
        raise InvalidInput(f"sample_base is missing; say by which base our tokens count: {names}", param="sample_base")
    info = registry.bases.get(base) if base is not None else known[0]
    for folder in registry.bases.folders_of(info.digest):
        if (folder / "tokenizer.json").is_file():
            return _count_by_file(folder / "tokenizer.json")
    raise InvalidInput(
        f"sample_base is {info.name}, whose folder is not on this machine; the sample cannot be counted", param="sample"
    )


def count_of(tokenizer: str | None) -> tuple[Count | None, str]:
    """What counts a baseline's tokens, an encoding of tiktoken or a `tokenizer.json` by path; or why nothing does."""
    if not tokenizer:
        return None, "its tokenizer is not known (`switchyard cost baselines say`)"
    if tokenizer.endswith(".json"):
        try:
            return _count_by_file(Path(tokenizer)), ""
        except InvalidInput as error:
            return None, error.message
    try:
        import tiktoken

        encoding = tiktoken.get_encoding(tokenizer)
    except ImportError:
        return None, f"its tokenizer {tokenizer} needs tiktoken, which is not installed"
    except Exception as error:  # it fetches the encoding once, by requests, and knows names of its own
        return None, f"its tokenizer {tokenizer} could not be had: {type(error).__name__}"
    return lambda text: len(encoding.encode_ordinary(text)), ""


def _count_by_file(file: Path) -> Count:
    try:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(file))
    except ImportError:
        raise InvalidInput("sample needs tokenizers: pip install 'switchyard[train]'", param="sample") from None
    except Exception as error:  # the library raises nothing nearer
        raise InvalidInput(f"sample: {file} is no tokenizer: {error}", param="sample") from None
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
