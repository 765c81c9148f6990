"""`switchyard evaluate`: a version against the one in production, through the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.names import PRODUCTION
from switchyard.commands.asking import (
    AtOnceOption,
    JudgeKeyOption,
    JudgeOption,
    JudgeUrlOption,
    KeyOption,
    PlotOption,
    gateway_asked,
    judge_at,
    step_bar,
    write_picture_or_say,
)
from switchyard.console import actor
from switchyard.options import JsonFlag, UrlOption
from switchyard.progress import reporting
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.adapters.version_rows import VersionInfo
    from registry.service import Registry
    from trainer.evaluation.asking import Asker
    from trainer.evaluation.harness import Harness

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


TalkOption = typer.Option(
    None,
    "--talk",
    help="Hold conversations of two turns, which the judge grades and compares: ours, or a JSONL file of "
    "{topic, turns}.",
)
GeneralOption = typer.Option(
    None,
    "--general",
    help="See whether it has forgotten what its base knows, on general prompts: ours, or a JSONL file of prompts and "
    "completions.",
)
HarnessOption = typer.Option(
    None, "--harness", help="Tasks of lm-evaluation-harness: mmlu,arc_easy,hellaswag,humaneval."
)
HarnessSetOption = typer.Option(
    [],
    "--harness-set",
    help="How it is run, KEY=VALUE, repeatable. command: its program, else lm_eval on the PATH. limit: documents of a "
    "task. include: a folder with tasks of one's own. chat=yes: by the chat endpoint, for tasks whose answers are "
    "written. runs_code=yes: it may run what models write, as HumanEval does. hours: the most for a task of a model.",
)
OURS = "ours"


def evaluate(
    candidate: str = typer.Argument(help="The version to judge, tenant/adapter@1.1."),
    data: str | None = DataOption,
    against: str | None = AgainstOption,
    metric: list[str] = MetricOption,
    slice_by: list[str] = SliceOption,
    rows: int = RowsOption,
    max_tokens: int | None = MaxTokensOption,
    at_once: int = AtOnceOption,
    plot: Path | None = PlotOption,
    alias: str = AliasOption,
    judge: str | None = JudgeOption,
    judge_url: str | None = JudgeUrlOption,
    judge_key_env: str = JudgeKeyOption,
    talk: str | None = TalkOption,
    general: str | None = GeneralOption,
    harness: str | None = HarnessOption,
    harness_set: list[str] = HarnessSetOption,
    key: str | None = KeyOption,
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Ask every held-out row of a version and of the one in production, and say how sure the difference is."""
    from registry.names import parse_ref
    from switchyard.commands.evaluate_report import print_outcome
    from switchyard.picture_files import form_of
    from trainer.evaluation.chart import draw_matrix
    from trainer.evaluation.general import PROMPTS
    from trainer.evaluation.judged import QUESTIONS
    from trainer.evaluation.orders import EvaluationOrder, Helpers, evaluated, record
    from trainer.evaluation.sources import rows_for

    with reporting(), open_registry() as registry:
        form = form_of(plot) if plot is not None else None
        version = registry.adapters.get(parse_ref(candidate))
        order = EvaluationOrder(
            version,
            rows_for(registry, version, data, rows),
            alias,
            against,
            tuple(dict.fromkeys(metric)),
            tuple(dict.fromkeys(slice_by)),
            max_tokens,
            at_once,
            talks=_file(talk, QUESTIONS),
            general=_file(general, PROMPTS),
        )
        with (
            gateway_asked(registry, version.tenant, key, url) as ask,
            judge_at(judge, judge_url, judge_key_env, ask.client) as judging,
            step_bar("rows") as told,
        ):
            program = _harness(registry, version, harness, harness_set, ask)
            found = evaluated(registry, order, ask, told, Helpers(judging, program))
        certificate = record(registry, order, found, actor())
        if plot is not None and form is not None:
            title = f"{found.candidate.model} against {found.incumbent.model}"
            write_picture_or_say(plot, draw_matrix(found.items, title, form))
    print_outcome(found, certificate, json_output=json_output)


def _file(said: str | None, ours: Path) -> Path | None:
    return None if said is None else ours if said == OURS else Path(said)


def _harness(
    registry: Registry, version: VersionInfo, tasks: str | None, settings: list[str], ask: Asker
) -> Harness | None:
    """lm-evaluation-harness with the base's own tokenizer, where its folder is on this machine."""
    from trainer.evaluation.harness import harness_of

    if tasks is None:
        return None
    return harness_of(tasks, settings, ask.client.endpoint, registry.base_folder(version.base_digest))
