"""`switchyard plan-gpu`: which GPUs a training fits on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import typer

from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.progress import reporting

if TYPE_CHECKING:
    from trainer.quote.gpus import Fit, GpuPlan
    from trainer.quote.thumb import Compared


RANK, ALL = 16, "all-linear"


def plan_gpu(
    model: str | None = typer.Argument(
        None, help="A known model such as 8b, 70b, mistral-7b, or a folder with config.json."
    ),
    method: Literal["full", "lora", "qlora"] = typer.Option("qlora", "--method", help="How it is trained."),
    rank: int | None = typer.Option(None, "--rank", min=1, max=512, help="Rank of the adapter. Default: 16."),
    targets: str | None = typer.Option(None, "--targets", help="all-linear, or q_proj,v_proj,…. Default: all-linear."),
    seq: int = typer.Option(2_048, "--seq", min=8, max=1_048_576, help="Tokens of the longest row."),
    batch: int = typer.Option(1, "--batch", min=1, max=1_024, help="Rows in memory at once on each GPU."),
    gpus: int | None = typer.Option(None, "--gpus", min=1, max=1_024, help="Only with so many GPUs."),
    checkpointing: bool = typer.Option(
        True, "--checkpointing/--no-checkpointing", help="Compute activations again instead of keeping them."
    ),
    rules: bool = typer.Option(False, "--rules-of-thumb", help="Only: published figures beside computed ones."),
    json_output: bool = JsonFlag,
) -> None:
    """Say which GPUs hold a model's training, the fewest and the recommended ones, beside published rules of thumb."""
    from trainer.quote.gpus import COUNTS, plan_gpus
    from trainer.quote.known import find_shape
    from trainer.quote.memory import Load
    from trainer.quote.thumb import compared

    if rules:
        _print_compared(compared(), json_output)
        return
    if model is None:
        raise typer.BadParameter("name a model, or ask for --rules-of-thumb", param_hint="MODEL")
    for option, given in (("--rank", rank), ("--targets", targets)):
        if method == "full" and given is not None:
            raise typer.BadParameter("is of adapters, and --method full trains all weights", param_hint=option)
    with reporting():
        load = Load(method, rank or RANK, _targets(targets), batch=batch, seq=seq, checkpointing=checkpointing)
        plan = plan_gpus(find_shape(model), load, counts=COUNTS if gpus is None else (gpus,))
    if json_output:
        print_json(_document(plan))
    else:
        _print_plan(plan)


def _targets(given: str | None) -> Any:
    return ALL if given in (None, ALL) else [name.strip() for name in given.split(",") if name.strip()]


def _document(plan: GpuPlan) -> dict[str, Any]:
    from trainer.quote.gpus import USED_SHARE_OF_PEAK
    from trainer.quote.memory import evaluation_bytes, memory, trainable_parameters
    from trainer.quote.thumb import quoted_gpus

    quoted = quoted_gpus(plan.shape, plan.load.tuning)
    need = memory(plan.shape, plan.load)
    return {
        "model": plan.shape.name,
        "parameters": plan.shape.parameters,
        "trainable_parameters": trainable_parameters(plan.shape, plan.load),
        "context_tokens": plan.shape.context,
        "load": {key: value for key, value in asdict(plan.load).items() if key != "gpus"},
        "memory_bytes": {**asdict(need), "total": need.total},
        "evaluation_bytes": evaluation_bytes(plan.shape, plan.load),
        "fits": [_fit_document(fit) for fit in plan.fits],
        "minimum": plan.minimum and _fit_document(plan.minimum),
        "recommended": plan.recommended and _fit_document(plan.recommended),
        "rule_of_thumb": quoted and {"minimum": quoted[0], "recommended": quoted[1]},
        "assumed_share_of_peak": USED_SHARE_OF_PEAK,
    }


def _fit_document(fit: Fit) -> dict[str, Any]:
    return {
        "gpu": fit.gpu.name,
        "gigabytes": fit.gpu.gigabytes,
        "bf16_tflops": fit.gpu.tflops,
        "source": fit.gpu.source,
        "count": fit.count,
        "bytes_each": fit.need.total,
        "used_share": round(fit.used_share, 3),
        "tokens_per_second": round(fit.tokens_per_second),
    }


def _print_plan(plan: GpuPlan) -> None:
    from trainer.quote.gpus import COMFORTABLE_SHARE, GB, USED_SHARE_OF_PEAK
    from trainer.quote.memory import evaluation_bytes, memory, trainable_parameters
    from trainer.quote.thumb import quoted_gpus, shown

    shape, load = plan.shape, plan.load
    trained = trainable_parameters(shape, load)
    need = memory(shape, load)
    share = 100 * trained / shape.parameters
    say(
        f"{shape.name}: {shape.parameters:,} parameters, {trained:,} trained ({share:.2f} %)",
        f"{load.tuning}, {load.batch} × {load.seq:,} tokens, "
        f"{'with' if load.checkpointing else 'without'} checkpointing, on one GPU:",
    )
    if shape.context is not None and load.seq > shape.context:
        say(f"{load.seq:,} tokens are more than its context, which has {shape.context:,}: no such row can be trained")
    parts = [*asdict(need).items(), ("total", need.total)]
    print_table(("PART", "GB"), [(name, f"{size / GB:.1f}") for name, size in parts])
    say()
    print_table(
        ("GPU", "MEMORY", "BF16 TFLOP/S", "NEEDED", "GB EACH", "FULL", "TOKENS/S, ABOUT", "SOURCE"),
        [
            (
                fit.gpu.name,
                f"{fit.gpu.gigabytes} GB",
                f"{fit.gpu.tflops:,}",
                fit.count,
                f"{fit.need.total / GB:.1f}",
                f"{fit.used_share:.0%}",
                f"{fit.tokens_per_second:,.0f}",
                fit.gpu.source,
            )
            for fit in plan.fits
        ],
        empty="no GPU holds it; take a smaller model or fewer tokens (--seq, --batch), --checkpointing, --method qlora",
    )
    say("", f"minimum        {shown(plan.minimum)}", f"recommended    {shown(plan.recommended)}")
    quoted = quoted_gpus(shape, load.tuning)
    if quoted:
        say(f"rule of thumb  {quoted[0]}; recommended {quoted[1]} (switchyard plan-gpu --rules-of-thumb)")
    say(
        "",
        "`switchyard train` also measures results on the base as it is served, on one GPU: "
        f"{evaluation_bytes(shape, load) / GB:.1f} GB.",
        f"Recommended is what stays below {COMFORTABLE_SHARE:.0%}. Tokens/s are {USED_SHARE_OF_PEAK:.0%} of the peak, "
        "an assumption; `switchyard quote` measures.",
    )


def _print_compared(rows: Iterable[Compared], json_output: bool) -> None:
    if json_output:
        print_json(list(rows))
        return
    print_table(
        ("OF", "ROW", "QUOTED", "COMPUTED", "WHY"),
        [(row.subject, row.row, row.quoted, row.computed, row.why or None) for row in rows],
    )
