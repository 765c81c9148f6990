"""`switchyard experiments compare A B`: both answer the same prompts, and a model or people say which is better."""

from __future__ import annotations

from pathlib import Path

import typer

from registry.errors import InvalidInput
from switchyard.commands.asking import (
    AtOnceOption,
    JudgeKeyOption,
    JudgeOption,
    JudgeUrlOption,
    KeyOption,
    PlotOption,
)
from switchyard.options import JsonFlag, UrlOption
from switchyard.progress import reporting
from switchyard.registry_access import open_registry

A_KEY, B_KEY = "SWITCHYARD_A_KEY", "SWITCHYARD_B_KEY"
Sides = "a version (tenant/adapter@1.1), an alias, base, or any model that the gateway knows."
AUrlOption = typer.Option(None, "--a-url", help="A's OpenAI-compatible endpoint, as an SDK is given it, if no gateway.")
BUrlOption = typer.Option(None, "--b-url", help="B's.")
AKeyOption = typer.Option(A_KEY, "--a-key-env", help="Environment variable with the key of A's endpoint.")
BKeyOption = typer.Option(B_KEY, "--b-key-env", help="B's.")
HumanOption = typer.Option(
    False, "--human", help="Show the answers without names, side by side, and keep what you say of them."
)
BallotOption = typer.Option(
    False,
    "--ballot",
    help="Put the answers up without names, to be voted on in the dashboard; counts the votes so far.",
)
ByOption = typer.Option(None, "--by", help="Who votes. Default: the user of this terminal.")
MetricOption = typer.Option(
    [],
    "--metric",
    help="label_exact, json_exact, rouge_l, accuracy, macro_f1, json_schema:FILE or regex:PATTERN; repeatable. "
    "Default: label_exact and rouge_l where prompts have a right answer, json_exact where these are JSON.",
)
RowsOption = typer.Option(1_000, "--rows", min=1, max=100_000, help="The most prompts, from the start of the file.")
MaxTokensOption = typer.Option(512, "--max-tokens", min=1, max=131_072, help="Of an answer.")
TemperatureOption = typer.Option(0.0, "--temperature", min=0, max=2, help="Of answers.")
SeedOption = typer.Option(0, "--seed", help="Of the order of prompts, and of who stands on the left.")
UntilOption = typer.Option(False, "--until-decided", help="Stop as soon as one of them is certainly preferred.")
PriceOption = typer.Option(
    [],
    "--price",
    help="MODEL=IN:OUT, dollars per million tokens of prompts and answers; repeatable. Default: the tariff's.",
)
ExportOption = typer.Option(
    None, "--export-preferences", help="A new JSONL file of the pairs that are no ties, as rows for DPO."
)
RunOption = typer.Option(
    None, "--run", help="File of answers and verdicts, with which a later run goes on. Default: in the state folder."
)
TenantOption = typer.Option(None, "--tenant", help="Whose key, prices and votes; needed where neither side names it.")


def compare(
    a: str = typer.Argument(help=f"What is there: {Sides}"),
    b: str = typer.Argument(help=f"What may be better: {Sides}"),
    prompts: Path = typer.Option(..., "--prompts", help="JSONL of chats, completions or instructions."),
    judge: str | None = JudgeOption,
    human: bool = HumanOption,
    ballot: bool = BallotOption,
    by: str | None = ByOption,
    until_decided: bool = UntilOption,
    metric: list[str] = MetricOption,
    rows: int = RowsOption,
    max_tokens: int = MaxTokensOption,
    temperature: float = TemperatureOption,
    seed: int = SeedOption,
    at_once: int = AtOnceOption,
    plot: Path | None = PlotOption,
    export_preferences: Path | None = ExportOption,
    price: list[str] = PriceOption,
    run: Path | None = RunOption,
    a_url: str | None = AUrlOption,
    a_key_env: str = AKeyOption,
    b_url: str | None = BUrlOption,
    b_key_env: str = BKeyOption,
    judge_url: str | None = JudgeUrlOption,
    judge_key_env: str = JudgeKeyOption,
    tenant: str | None = TenantOption,
    key: str | None = KeyOption,
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Let two models answer the same prompts, and a model or people, who see no names, say whose answer is better."""
    from switchyard.commands.compare_report import print_compared
    from switchyard.commands.compare_run import Order, carried_out
    from switchyard.commands.compare_sides import Named, SideOrder
    from trainer.endpoints.client import Manner

    _check_who_says(judge, human, ballot, needed=until_decided or export_preferences is not None)
    first, second = SideOrder(a, a_url, a_key_env, "a"), SideOrder(b, b_url, b_key_env, "b")
    order = Order(
        Named(first, second, tenant, key, url, tuple(price)),
        prompts,
        Manner(max_tokens, temperature),
        tuple(dict.fromkeys(metric)),
        rows,
        seed,
        at_once,
        SideOrder(judge, judge_url, judge_key_env, "judge") if judge is not None else None,
        by,
        human,
        ballot,
        until_decided,
        run,
        plot,
        export_preferences,
    )
    with reporting(), open_registry() as registry:
        found = carried_out(registry, order)
    print_compared(found, json_output=json_output)


def _check_who_says(judge: str | None, human: bool, ballot: bool, *, needed: bool) -> None:
    """Raise `InvalidInput` where several say which answer is better, or nobody does who must."""
    if human and judge is not None:
        raise InvalidInput("judge is for a model, and --human for people; name one of the two", param="judge")
    if ballot and (human or judge is not None):
        raise InvalidInput("ballot is for people elsewhere; leave --judge and --human out", param="ballot")
    if needed and judge is None and not (human or ballot):
        raise InvalidInput("judge is missing: nobody says which answer is better; name one, or say --human or --ballot")
