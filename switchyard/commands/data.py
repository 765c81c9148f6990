"""`switchyard data`: look at training rows before a training does, convert and split them, make and review new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from switchyard.commands.data_synthetic import augment, generate, review
from switchyard.console import print_json, say
from switchyard.options import JsonFlag
from switchyard.progress import reporting

data = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Check, convert, split and measure training rows; generate rows and review them.",
)
FileArgument = typer.Argument(help="Rows: JSONL or one JSON list, or a .dvc file that stands for one.")
FormatOption = typer.Option("auto", "--format", help="auto, chat, instruction, completion or preference.")
BaseOption = typer.Option(
    None, "--base", help="Base model whose tokens count: a folder, or a hub id that is here. Default: the default base."
)
OutOption = typer.Option(..., "--out", help="A new file.")


def format_given(format: str) -> Any:
    """The form of rows that was typed."""
    from trainer.data.read import FORMATS

    return one_of(format, ("auto", *FORMATS), "--format")


def one_of(value: str, known: tuple[str, ...], option: str) -> str:
    """The value, if it is one of those."""
    if value not in known:
        raise typer.BadParameter(f"is {value!r}; choose from {', '.join(known)}", param_hint=option)
    return value


def base_folder_of(base: str | None) -> Path | None:
    """The folder of that base, or of the default one; None when the default one is not here."""
    from registry.settings import RegistrySettings
    from trainer.base import base_at_hand
    from trainer.errors import BaseModelError

    found = base_at_hand(base, RegistrySettings().state_dir / "base")
    if found is None and base is not None:
        raise BaseModelError(
            f"there is no base {base!r} here; give a folder, or `switchyard base prepare {base}` first"
        )
    return found


@data.command()
def check(
    files: list[Path] = typer.Argument(help="Files of rows; each is checked by itself."),
    heldout: Path | None = typer.Option(None, "--heldout", help="Rows that must not be among these, nor nearly."),
    format: str = FormatOption,
    base: str | None = BaseOption,
    max_length: int | None = typer.Option(None, "--max-length", min=8, help="Tokens that a row may have."),
    schema: Path | None = typer.Option(None, "--schema", help="JSON schema that every answer must keep."),
    presidio: bool = typer.Option(False, "--presidio", help="Look for personal data with presidio-analyzer too."),
    sample: int = typer.Option(3, "--sample", min=0, max=1000, help="Answers to show, for a person to read."),
    sample_to: Path | None = typer.Option(None, "--sample-to", help="Write the sample to a CSV for an expert."),
    seed: int = typer.Option(0, "--seed", min=0, max=2**32 - 1, help="Decides which rows are the sample."),
    strict: bool = typer.Option(False, "--strict", help="Exit with 1 for warnings too."),
    json_output: bool = JsonFlag,
) -> None:
    """Check rows by the whole checklist. Exit status 1: do not train on them."""
    from switchyard.commands.data_report import Wanted, check_files

    wanted = Wanted(format_given(format), base, max_length, schema, presidio, heldout)
    with reporting():
        bad = check_files(files, wanted, shown=(sample, seed, sample_to), strict=strict, json_output=json_output)
    if bad:
        raise typer.Exit(1)


@data.command()
def stats(
    file: Path = FileArgument,
    format: str = FormatOption,
    base: str | None = BaseOption,
    json_output: bool = JsonFlag,
) -> None:
    """Lengths in the base's tokens, with a histogram and how many rows each limit would cut; kinds and labels."""
    from switchyard.commands.data_report import print_stats
    from trainer.data.read import read_data
    from trainer.data.report import report
    from trainer.data.tokens import token_stats
    from trainer.methods.loading import load_tokenizer

    with reporting():
        rows = read_data(file, format_given(format))
        folder = base_folder_of(base)
        tokens = token_stats(load_tokenizer(folder), rows, folder.name) if folder else None
        found = report(rows, folder.name if folder else None)
    if json_output:
        print_json(found.document() | {"tokens": tokens.document() if tokens else None})
    else:
        print_stats(found, tokens)


@data.command()
def convert(
    file: Path = FileArgument,
    to: str = typer.Option(..., "--to", help="chat, instruction, completion, preference or openai-preference."),
    out: Path = OutOption,
    format: str = FormatOption,
    json_output: bool = JsonFlag,
) -> None:
    """Write rows in another form, as JSONL; rows as Alpaca, ShareGPT, Dolly, FLAN and OpenAssistant have them are read
    too.

    Rows of which something that is learnt would be lost are named, and nothing is written; of pairs written in a form
    with one answer the better one is kept.
    """
    from trainer.data.convert import TARGETS, converted, write_rows
    from trainer.data.dvc import located
    from trainer.data.lines import read_lines
    from trainer.data.public_sets import adopted
    from trainer.data.read import dataset_of

    target: Any = one_of(to, TARGETS, "--to")
    with reporting():
        source = located(file)
        rows = dataset_of(source, adopted(read_lines(source)), format_given(format))
        count = write_rows(converted(rows, target), out)
    facts = {"file": str(out), "rows": count, "from": rows.format, "to": target}
    print_json(facts) if json_output else say(f"{count} rows of form {rows.format} are of form {target} in {out}")


@data.command()
def split(
    file: Path = FileArgument,
    share: float = typer.Option(0.15, "--share", min=0.01, max=0.5, help="Share to hold out; 0.1 to 0.2 is usual."),
    seed: int = typer.Option(0, "--seed", min=0, max=2**32 - 1, help="Decides which rows are held out."),
    out: Path | None = typer.Option(
        None, "--out", help="Folder of both files, made if it is not there. Default: beside the file."
    ),
    format: str = FormatOption,
    json_output: bool = JsonFlag,
) -> None:
    """Hold rows out: NAME.train.jsonl and NAME.heldout.jsonl. Rows that ask nearly the same stay on one side."""
    from trainer.data.convert import new_files, write_rows
    from trainer.data.dvc import located
    from trainer.data.lines import read_lines
    from trainer.data.read import read_data
    from trainer.data.split import HoldOut
    from trainer.data.split import split as parts_of

    with reporting():
        parts = parts_of(read_data(file, format_given(format)), HoldOut(share, seed))
        source = located(file)
        rows = {line.number: line.row for line in read_lines(source).lines}
        named = new_files(out or file.parent, *(f"{source.stem}.{side}.jsonl" for side in ("train", "heldout")))
        for to, part in zip(named, (parts.train, parts.heldout), strict=True):
            lines = dict.fromkeys(example.line for example in part.examples)
            write_rows((rows[line] for line in lines), to)
    facts = {
        "train": str(named[0]),
        "train_rows": parts.train.rows,
        "heldout": str(named[1]),
        "heldout_rows": parts.heldout.rows,
        "seed": seed,
        "near_apart": parts.apart,
    }
    if json_output:
        print_json(facts)
        return
    say(
        f"{parts.train.rows} rows to train on in {named[0]}",
        f"{parts.heldout.rows} held out in {named[1]}",
    )
    if not parts.apart:
        say("most rows ask variants of one text, so held-out rows are like training rows: collect others to hold out")


data.command()(generate)
data.command()(augment)
data.command()(review)
