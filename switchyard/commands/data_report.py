"""What `switchyard data check` and `stats` print: findings first, then a few rows to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from switchyard.console import print_json, print_table, say
from trainer.data.faults import DataError
from trainer.data.findings import Finding
from trainer.data.overlap import find_overlap, rows_of
from trainer.data.privacy import presidio_findings
from trainer.data.quotes import quotes_of
from trainer.data.read import Dataset, Format, read_data
from trainer.data.report import Report, leaks, percentiles, report
from trainer.data.rows import Example
from trainer.data.sample import prompt_to_read, sample, write_sheet
from trainer.data.schema import read_schema, schema_findings
from trainer.data.tokens import TokenStats, histogram, token_stats, too_long

BAR_CHARACTERS = 40
MOST_TEXT = 600
MOST_SHARES = 6
Sample = tuple[int, int, Path | None]
"""How many answers, by which seed, and the CSV that gets them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What rows are checked against."""

    format: Format
    base: str | None
    max_length: int | None
    schema: Path | None
    presidio: bool
    heldout: Path | None


@dataclass(frozen=True, slots=True)
class _Checked:
    """One file: a report with its sample, or the error that says why there is none."""

    file: Path
    report: Report | None = None
    tokens: TokenStats | None = None
    sample: tuple[Example, ...] = ()
    error: DataError | None = None

    def document(self) -> dict[str, Any]:
        if self.report is None:
            assert self.error is not None
            return {"file": str(self.file), "usable": False, "faults": list(self.error.faults), "findings": []}
        tokens = self.tokens.document() if self.tokens else None
        return {"usable": not self.report.errors, "faults": []} | self.report.document() | {"tokens": tokens}


def check_files(files: Iterable[Path], wanted: Wanted, *, shown: Sample, strict: bool, json_output: bool) -> bool:
    """Check and print; whether a file must not be trained on (`strict`: or has warnings)."""
    checked = [_checked(file, wanted, shown) for file in files]
    if json_output:
        print_json([one.document() for one in checked])
    else:
        for one in checked:
            _print(one)
    bad = ("error", "warn") if strict else ("error",)
    return any(one.report is None or any(found.level in bad for found in one.report.findings) for one in checked)


def print_stats(found: Report, tokens: TokenStats | None) -> None:
    """For people."""
    _print_head(found)
    _print_lengths(found, tokens)
    if tokens is None:
        say("", "in tokens: give --base, or make the default base with `switchyard base prepare`")
        _print_histogram("characters of an answer", found.answer_lengths)
        return
    say()
    _print_histogram(f"tokens of a row ({tokens.base})", tokens.wholes)
    say()
    rows = [(f"{limit:,}", count, f"{count / len(tokens.prompts):.1%}") for limit, count in tokens.longer.items()]
    print_table(("MAX LENGTH", "ROWS LONGER", "SHARE"), rows, empty="no row is longer than 256 tokens")


def _checked(file: Path, wanted: Wanted, shown: Sample) -> _Checked:
    from switchyard.commands.data import base_folder_of

    count, seed, sheet = shown
    try:
        folder = base_folder_of(wanted.base)
        data = read_data(file, wanted.format, quotes_of(folder, "refuse"))
        tokens = _tokens(folder, data) if folder and (wanted.base or wanted.max_length) else None
        found = report(data, folder.name if folder else None, _more(data, wanted, tokens))
        chosen = tuple(sample(data, count, seed))
        if sheet is not None:
            write_sheet(chosen, sheet)
    except DataError as error:
        return _Checked(file, error=error)
    return _Checked(file, found, tokens, chosen)


def _tokens(folder: Path, data: Dataset) -> TokenStats:
    from trainer.methods.loading import load_tokenizer

    return token_stats(load_tokenizer(folder), data, folder.name)


def _more(data: Dataset, wanted: Wanted, tokens: TokenStats | None) -> Iterator[Finding]:
    if wanted.heldout is not None:
        heldout = read_data(wanted.heldout, wanted.format, others=True)
        yield from leaks(data, heldout, find_overlap(data.examples, heldout.examples))
    if wanted.schema is not None:
        yield from schema_findings(data, read_schema(wanted.schema))
    if wanted.presidio:
        yield from presidio_findings(rows_of(data.examples))
    if tokens is not None and wanted.max_length is not None:
        yield from too_long(tokens, wanted.max_length)


def _print(one: _Checked) -> None:
    if one.report is None:
        say(*str(one.error).split("\n"), "", f"{one.file} cannot be trained on: correct these lines", "")
        return
    _print_head(one.report)
    _print_lengths(one.report, one.tokens)
    say()
    rows = [(found.level, found.code, found.sentence) for found in one.report.findings]
    print_table(("", "FINDING", "WHAT IT IS"), rows, empty="nothing to say against it")
    for example in one.sample:
        _print_example(example)
    warnings = sum(found.level == "warn" for found in one.report.findings)
    verdict = "must not be trained on" if one.report.errors else "can be trained on"
    say("", f"{one.file} {verdict}: {_count(one.report.errors, 'error')}, {_count(warnings, 'warning')}", "")


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _print_head(found: Report) -> None:
    say(
        f"{found.file}  {found.rows:,} rows of form {found.format}, {found.answers:,} answers",
        f"  sha256   {found.digest}",
        f"  answers  {_shares(found.kinds, found.answers)}",
    )
    if found.labels:
        say(f"  labels   {_shares(found.labels, found.answers)}")


def _shares(counts: dict[str, int], total: int) -> str:
    shown = [f"{name} {count:,} ({count / total:.0%})" for name, count in list(counts.items())[:MOST_SHARES]]
    others = len(counts) - len(shown)
    return ", ".join([*shown, *([f"and {others} others"] if others else [])])


def _print_lengths(found: Report, tokens: TokenStats | None) -> None:
    columns = ("min", "p50", "p90", "p95", "p99", "max")
    measured = [("prompt, characters", found.prompt_lengths), ("answer, characters", found.answer_lengths)]
    if tokens is not None:
        measured += [("prompt, tokens", tokens.prompts), ("answer, tokens", tokens.answers)]
        measured.append(("row, tokens", tuple(tokens.wholes)))
    rows = [[name, *(f"{percentiles(values)[key]:,}" for key in columns)] for name, values in measured]
    say()
    print_table(("", "MIN", "MEDIAN", "90 %", "95 %", "99 %", "MAX"), rows)


def _print_histogram(what: str, values: Iterable[int]) -> None:
    buckets = histogram(values)
    most = max(count for *_, count in buckets)
    rows = [
        (f"{low:,} to {high:,}", f"{count:,}", "█" * -(-count * BAR_CHARACTERS // most)) for low, high, count in buckets
    ]
    print_table((what, "ROWS", ""), rows)


def _print_example(example: Example) -> None:
    say("", f"  line {example.line}, to read:")
    for line in _shortened(prompt_to_read(example)).split("\n"):
        say(f"    | {line}")
    for line in _shortened(example.answer.text).split("\n"):
        say(f"    > {line}")


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"
