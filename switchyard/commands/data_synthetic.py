"""`switchyard data generate`, `augment` and `review`: rows that a model writes, and that a person reads first."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from switchyard.console import actor, print_json, say
from switchyard.options import JsonFlag
from switchyard.progress import reporting

DraftsOption = typer.Option(..., "--out", help="File of drafts; an earlier run's is gone on with.")
ModelOption = typer.Option(..., "--model", help="Who writes, as the endpoint calls it.")
UrlOption = typer.Option(None, "--base-url", help="As an SDK is given it. Default: the vendor's own.")
ApiOption = typer.Option("openai", "--api", help="Shape of the endpoint: openai or anthropic.")
KeyOption = typer.Option(None, "--key-env", help="Environment variable with the key. Default: as the SDKs have it.")
ConcurrencyOption = typer.Option(4, "--concurrency", min=1, max=64, help="Requests at a time.")
MaxTokensOption = typer.Option(4096, "--max-tokens", min=16, max=131_072, help="Of one answer.")
PriceInOption = typer.Option(None, "--price-in", min=0, help="Dollars per million prompt tokens.")
PriceOutOption = typer.Option(None, "--price-out", min=0, help="Dollars per million answer tokens.")


def generate(
    topics: list[str] = typer.Option(..., "--topics", help="Topics, with commas between them, or given several times."),
    n: int = typer.Option(10, "--n", min=1, max=100_000, help="Drafts on each topic."),
    model: str = ModelOption,
    out: Path = DraftsOption,
    base_url: str | None = UrlOption,
    api: str = ApiOption,
    key_env: str | None = KeyOption,
    guidelines: Path | None = typer.Option(None, "--guidelines", help="Text file: form, tone and depth of answers."),
    against: list[Path] = typer.Option([], "--against", help="Rows that drafts must not repeat."),
    batch: int = typer.Option(5, "--batch", min=1, max=50, help="Rows to ask for in one request."),
    concurrency: int = ConcurrencyOption,
    max_tokens: int = MaxTokensOption,
    temperature: float | None = typer.Option(None, "--temperature", min=0, max=2, help="Default: the endpoint's."),
    price_in: float | None = PriceInOption,
    price_out: float | None = PriceOutOption,
    json_output: bool = JsonFlag,
) -> None:
    """Let a model write rows on topics: drafts, which no training reads until `data review` has accepted them."""
    from switchyard.commands.data_drafting import Order, endpoint_of, known_of, run, text_of
    from trainer.data.synthetic.writer import WriterOrder
    from trainer.endpoints.client import Manner

    named = list(dict.fromkeys(topic.strip() for given in topics for topic in given.split(",") if topic.strip()))
    if not named:
        raise typer.BadParameter("names no topic", param_hint="--topics")
    with reporting() as reporter:
        endpoint = endpoint_of(api, base_url, key_env)
        writer = WriterOrder(endpoint, model, Manner(max_tokens, temperature), concurrency)
        order = Order(writer, out, (price_in, price_out), json_output)
        wishes = text_of(guidelines)
        known = known_of(against)
        run(order, known, reporter.stage, lambda maker: maker.topics(named, n, batch, wishes))


def augment(
    file: Path = typer.Argument(help="Rows that people wrote."),
    per_row: int = typer.Option(2, "--per-row", min=1, max=20, help="Other ways to ask, for each row."),
    rows: int | None = typer.Option(None, "--rows", min=1, help="Only so many rows, from the start of the file."),
    model: str = ModelOption,
    out: Path = DraftsOption,
    base_url: str | None = UrlOption,
    api: str = ApiOption,
    key_env: str | None = KeyOption,
    concurrency: int = ConcurrencyOption,
    max_tokens: int = MaxTokensOption,
    temperature: float | None = typer.Option(None, "--temperature", min=0, max=2, help="Default: the endpoint's."),
    price_in: float | None = PriceInOption,
    price_out: float | None = PriceOutOption,
    json_output: bool = JsonFlag,
) -> None:
    """Let a model ask the same in other words; answers stay as they are. Drafts, as of `data generate`."""
    from switchyard.commands.data_drafting import Order, endpoint_of, known_of, run
    from trainer.data.dvc import located
    from trainer.data.lines import read_lines
    from trainer.data.read import read_data
    from trainer.data.synthetic.augment import sources
    from trainer.data.synthetic.writer import WriterOrder
    from trainer.endpoints.client import Manner
    from trainer.errors import TrainerError

    with reporting() as reporter:
        endpoint = endpoint_of(api, base_url, key_env)
        writer = WriterOrder(endpoint, model, Manner(max_tokens, temperature), concurrency)
        order = Order(writer, out, (price_in, price_out), json_output)
        data = read_data(file, "auto")
        chosen = list(sources(data, read_lines(located(file)).lines))[:rows]
        if not chosen:
            raise TrainerError(f"{file}: no row has one question of a person's; give other rows")
        run(order, known_of([file]), reporter.stage, lambda maker: maker.paraphrases(chosen, per_row))


def review(
    file: Path = typer.Argument(help="File of drafts."),
    out: Path | None = typer.Option(
        None, "--out", help="Rows to train on: those accepted until now, with their origin."
    ),
    by: str | None = typer.Option(None, "--by", help="Who reviews. Default: the user of this terminal."),
    counts_only: bool = typer.Option(False, "--counts", help="Only say how many are accepted, rejected and left."),
    json_output: bool = JsonFlag,
) -> None:
    """Read drafts one by one in the terminal and accept, edit or reject each; who and when is kept."""
    from switchyard.commands.data_drafting import review_in_terminal
    from trainer.data.synthetic.drafts import open_drafts, read_drafts
    from trainer.data.synthetic.review import counts, export
    from trainer.errors import TrainerError

    with reporting():
        if not counts_only and any(draft.status == "draft" for draft in read_drafts(file).values()):
            if not sys.stdin.isatty():
                raise TrainerError("drafts are read by a person: run this in a terminal, or with --counts")
            with open_drafts(file) as drafts:
                review_in_terminal(drafts, by or actor())
        found = read_drafts(file)
        if not found:
            raise TrainerError(f"{file}: holds no draft; give a file that `switchyard data generate` wrote")
        written = export(found.values(), out) if out else None
    numbers = counts(found.values())
    if json_output:
        print_json(numbers | {"out": str(out) if out else None, "rows": written})
        return
    say(", ".join(f"{count} {status if status != 'draft' else 'to be read'}" for status, count in numbers.items()))
    if written is not None:
        say(f"{written} rows to train on in {out}; mix them with at least 70 real rows to 30 of these")
