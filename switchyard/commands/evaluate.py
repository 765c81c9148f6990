"""`switchyard evaluate`: a version against the one in production, through the gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.errors import InvalidInput
from registry.names import PRODUCTION
from switchyard.console import StepBar, actor, print_json, say
from switchyard.options import JsonFlag, UrlOption
from switchyard.progress import reporting
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.adapters.version_rows import VersionInfo
    from registry.gates.store import CertificateInfo
    from registry.service import Registry
    from trainer.evaluation.asking import Asker
    from trainer.evaluation.comparison import Evaluation, Wanted
    from trainer.evaluation.harness import Harness
    from trainer.evaluation.judge import Judge

DataOption = typer.Option(
    None,
    "--data",
    help="JSONL of held-out rows, chat or completion, or the id of a file at /v1/files. Default: the rows that the "
    "version's own fine-tuning job held out.",
)
AgainstOption = typer.Option(
    None, "--against", help="An alias, a version's number, or base. Default: the alias, else the base."
)
MetricOption = typer.Option(
    [],
    "--metric",
    help="label_exact, json_exact, rouge_l, accuracy, macro_f1, loss, perplexity, json_schema:FILE or regex:PATTERN; "
    "repeatable. Default: the gate's, else the one that it was trained by, else label_exact.",
)
AliasOption = typer.Option(PRODUCTION, "--alias", help="The alias whose gate judges it.")
SliceOption = typer.Option(
    [], "--slice", help="A field of the rows, label, or length: every metric for each of its values; repeatable."
)
RowsOption = typer.Option(500, "--rows", min=1, max=100_000, help="The most rows that are asked.")
MaxTokensOption = typer.Option(
    None, "--max-tokens", min=1, help="Of an answer. Default: the longest reference and a quarter more."
)
PlotOption = typer.Option(None, "--plot", help="Draw the matrix into a .svg or .png file.")
KeyOption = typer.Option(
    None,
    "--key",
    envvar="SWITCHYARD_API_KEY",
    help="A key of the tenant. Default: one that is made now and revoked afterwards.",
)


JudgeOption = typer.Option(None, "--judge", help="A model that compares the answers to every row, in both orders.")
JudgeUrlOption = typer.Option(
    None, "--judge-url", help="Its OpenAI-compatible endpoint. Default: the gateway, with the same key."
)
JudgeKeyOption = typer.Option(None, "--judge-key", envvar="SWITCHYARD_JUDGE_KEY", help="Its key.")
TalkOption = typer.Option(False, "--talk", help="Hold conversations of two turns, which the judge grades and compares.")
TalkDataOption = typer.Option(None, "--talk-data", help="JSONL of such conversations, {topic, turns}. Default: ours.")
GeneralOption = typer.Option(
    False, "--general", help="See on general prompts whether it has forgotten what its base knows."
)
GeneralDataOption = typer.Option(None, "--general-data", help="JSONL of such prompts and completions. Default: ours.")
HarnessOption = typer.Option(
    None,
    "--harness",
    help="Tasks of lm-evaluation-harness: mmlu,arc_easy,hellaswag,humaneval.",
)
HarnessCommandOption = typer.Option(None, "--harness-command", help="Its program. Default: lm_eval on the PATH.")
HarnessLimitOption = typer.Option(None, "--harness-limit", min=1, help="Documents of each task. Default: all.")
HarnessIncludeOption = typer.Option(None, "--harness-include", help="A folder with tasks of one's own.")
HarnessChatOption = typer.Option(
    False, "--harness-chat", help="By the chat endpoint: for tasks whose answers are written."
)
HarnessCodeOption = typer.Option(False, "--harness-runs-code", help="Let it run what models write, as HumanEval does.")


@dataclass(frozen=True, slots=True)
class Further:
    """What a person wants to be measured besides the rows."""

    judge: str | None
    judge_url: str | None
    judge_key: str | None
    talk: Path | None
    general: Path | None
    harness: HarnessOrder | None


@dataclass(frozen=True, slots=True)
class HarnessOrder:
    """How lm-evaluation-harness is to be run."""

    tasks: str
    command: str | None
    limit: int | None
    include: Path | None
    chat: bool
    runs_code: bool


@dataclass(frozen=True, slots=True)
class Order:
    """What a person has typed."""

    candidate: str
    data: str | None
    against: str | None
    metrics: tuple[str, ...]
    slices: tuple[str, ...]
    rows: int
    max_tokens: int | None
    at_once: int
    key: str | None
    url: str | None
    alias: str
    further: Further


def evaluate(
    candidate: str = typer.Argument(help="The version to judge, tenant/adapter@1.1."),
    data: str | None = DataOption,
    against: str | None = AgainstOption,
    metric: list[str] = MetricOption,
    slice_by: list[str] = SliceOption,
    rows: int = RowsOption,
    max_tokens: int | None = MaxTokensOption,
    at_once: int = typer.Option(4, "--at-once", min=1, max=64, help="Rows that are asked at the same time."),
    plot: Path | None = PlotOption,
    alias: str = AliasOption,
    judge: str | None = JudgeOption,
    judge_url: str | None = JudgeUrlOption,
    judge_key: str | None = JudgeKeyOption,
    talk: bool = TalkOption,
    talk_data: Path | None = TalkDataOption,
    general: bool = GeneralOption,
    general_data: Path | None = GeneralDataOption,
    harness: str | None = HarnessOption,
    harness_command: str | None = HarnessCommandOption,
    harness_limit: int | None = HarnessLimitOption,
    harness_include: Path | None = HarnessIncludeOption,
    harness_chat: bool = HarnessChatOption,
    harness_runs_code: bool = HarnessCodeOption,
    key: str | None = KeyOption,
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Ask every held-out row of a version and of the one in production, and say how sure the difference is."""
    from switchyard.commands.evaluate_report import evaluation_fields, print_certificate, print_evaluation
    from trainer.evaluation.chart import draw_matrix, form_of
    from trainer.evaluation.general import PROMPTS
    from trainer.evaluation.judged import QUESTIONS

    further = Further(
        judge,
        judge_url,
        judge_key,
        talk_data or (QUESTIONS if talk else None),
        general_data or (PROMPTS if general else None),
        None
        if harness is None
        else HarnessOrder(harness, harness_command, harness_limit, harness_include, harness_chat, harness_runs_code),
    )
    metrics, slices = tuple(dict.fromkeys(metric)), tuple(dict.fromkeys(slice_by))
    order = Order(candidate, data, against, metrics, slices, rows, max_tokens, at_once, key, url, alias, further)
    with reporting(), open_registry() as registry:
        form = form_of(plot) if plot is not None else None
        found, certificate = _judged(registry, order)
        if plot is not None and form is not None:
            _write(plot, draw_matrix(found, form))
    if json_output:
        print_json({**evaluation_fields(found), "certificate": certificate})
    else:
        print_evaluation(found)
        print_certificate(certificate)


def _write(plot: Path, picture: bytes) -> None:
    """What was measured is worth more than its picture."""
    try:
        plot.write_bytes(picture)
    except OSError as failed:
        say(f"the picture was not written to {plot}: {failed.strerror}", err=True)


def _judged(registry: Registry, order: Order) -> tuple[Evaluation, CertificateInfo]:
    """What was found, and how it was written down."""
    from registry.names import AdapterRef, parse_ref
    from trainer.evaluation.asking import asker
    from trainer.evaluation.comparison import compare
    from trainer.evaluation.record import finding_of
    from trainer.evaluation.sides import key_of

    version = registry.adapters.get(parse_ref(order.candidate))
    wanted, url = _wanted(registry, version, order), order.url or _gateway_url()
    with (
        nullcontext(order.key) if order.key else key_of(registry, version.tenant, actor()) as secret,
        asker(url, secret) as ask,
        _judge(order.further, ask) as judge,
        _bar() as told,
    ):
        harness = _harness(registry, version, order, ask.url, secret)
        extras = replace(wanted.extras, judge=judge, harness=harness)
        found = compare(replace(wanted, extras=extras), ask, told)
    ref = AdapterRef(version.tenant, version.adapter, version.version, None)
    return found, registry.gates.record(ref, finding_of(found), alias=order.alias, actor=actor())


@contextmanager
def _judge(further: Further, ask: Asker) -> Iterator[Judge | None]:
    """The judge that was named: at an endpoint of its own, or at the gateway."""
    from trainer.evaluation.asking import asker
    from trainer.evaluation.judge import Judge

    if further.judge is None:
        yield None
    elif further.judge_url is None:
        yield Judge(ask, further.judge)
    else:
        with asker(further.judge_url, further.judge_key or "none") as elsewhere:
            yield Judge(elsewhere, further.judge)


def _harness(registry: Registry, version: VersionInfo, order: Order, url: str, key: str) -> Harness | None:
    """lm-evaluation-harness with the base's own tokenizer, where its folder is on this machine."""
    from trainer.evaluation.harness import Harness, find_command

    asked = order.further.harness
    if asked is None:
        return None
    tasks = tuple(dict.fromkeys(task.strip() for task in asked.tasks.split(",") if task.strip()))
    folder = None if asked.chat else registry.base_folder(version.base_digest)
    command = find_command(asked.command)
    return Harness(command, tasks, url, key, asked.limit, asked.include, asked.chat, asked.runs_code, folder)


def _wanted(registry: Registry, version: VersionInfo, order: Order) -> Wanted:
    from registry.storage.blobs import digest_of
    from trainer.evaluation.comparison import Wanted
    from trainer.evaluation.judged import read_conversations
    from trainer.evaluation.sides import extras_of, incumbent_of, metrics_of, ordinary, side_of
    from trainer.evaluation.sources import rows_for

    further = order.further
    if further.talk is not None and further.judge is None:
        raise InvalidInput("talk is for a judge; name one with --judge", param="talk")
    names = metrics_of(registry, version, order.alias, order.metrics)
    extras = extras_of(registry, version, names, general=further.general)
    if further.talk is not None:
        talks = read_conversations(further.talk)
        settings = {**extras.settings, "talks": digest_of(further.talk.read_bytes())}
        extras = replace(extras, talks=talks, settings=settings)
    if further.harness is not None:
        settings = {**extras.settings, "harness": {"limit": further.harness.limit, "chat": further.harness.chat}}
        extras = replace(extras, settings=settings)
    against = order.against or order.alias
    return Wanted(
        side_of(version),
        incumbent_of(registry, version, against, required=order.against is not None),
        rows_for(registry, version, order.data, order.rows),
        ordinary(names),
        order.slices,
        order.max_tokens,
        order.at_once,
        extras,
    )


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Shows how many rows are done, on a terminal."""
    bar = StepBar()
    try:
        yield lambda done, total: bar.update(done, total, "rows") if bar.shows else None
    finally:
        bar.end()


def _gateway_url() -> str:
    """Of the gateway that runs on this state folder, or by the settings."""
    from gateway.serving.running import gateway_of
    from gateway.settings import GatewaySettings

    settings = GatewaySettings()
    running = gateway_of(settings)
    return settings.url if running is None else running.url
