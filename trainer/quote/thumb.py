"""Published rules of thumb beside what is computed here, with the reason where the two differ.

The figures are those of "LLM Fine-Tuning Complete Guide" (Data Dynamics Engineering), which many people plan by. They
are computed for a row of 2,048 tokens at a time with checkpointing, and adapters of rank 16 on all linear layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from registry.training.sections import Tuning
from trainer.quote.gpus import GB, GPUS, Fit, plan_gpus
from trainer.quote.known import find_shape
from trainer.quote.memory import Load, memory, trainable_parameters
from trainer.quote.shapes import Shape, lora_parameters

QUERY_VALUE = ("q_proj", "v_proj")
Subject = Literal["memory", "bytes per parameter", "trainable share", "trainable parameters", "rank", "gpu"]

MEMORY_GB: dict[tuple[str, Tuning], int] = {
    ("llama-3.1-8b", "full"): 60, ("llama-3.1-70b", "full"): 500, ("llama-3.1-405b", "full"): 3_000,
    ("mistral-7b", "full"): 56,
    ("llama-3.1-8b", "lora"): 18, ("llama-3.1-70b", "lora"): 160, ("mistral-7b", "lora"): 16,
    ("llama-3.1-8b", "qlora"): 6, ("llama-3.1-70b", "qlora"): 40, ("mistral-7b", "qlora"): 5,
}  # fmt: skip
SHARES: dict[Tuning, str] = {
    "lora": "0.1–1 %", "qlora": "0.1–1 %", "prefix": "< 0.1 %", "prompt": "< 0.01 %", "ia3": "< 0.01 %",
}  # fmt: skip
RANKS = {8: "~3M (0.04 %)", 16: "~6M (0.08 %)", 32: "~12M (0.17 %)", 64: "~25M (0.35 %)"}
GPU_CHOICES: dict[tuple[str, Tuning], tuple[str, str]] = {
    ("llama-3.1-8b", "qlora"): ("RTX 3090", "RTX 4090"),
    ("llama-3.1-8b", "lora"): ("A100 40 GB", "A100 80 GB"),
    ("llama-2-13b", "qlora"): ("RTX 4090", "A100 40 GB"),
    ("llama-3.1-70b", "qlora"): ("A100 80 GB", "2 × A100 80 GB"),
    ("llama-3.1-70b", "lora"): ("4 × A100 80 GB", "4 × H100 80 GB"),
}
QUOTED_AS = {
    "llama-3.1-8b": "LLaMA 3 8B", "llama-3.1-70b": "LLaMA 3 70B", "llama-3.1-405b": "LLaMA 3 405B",
    "mistral-7b": "Mistral 7B", "llama-2-13b": "13B",
}  # fmt: skip
"""What the guide calls them; Llama 3 has the shapes of 3.1."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One row of a table: what is said of it, what is computed, and why they differ ("" where they do not)."""

    subject: Subject
    row: str
    quoted: str
    computed: str
    why: str = ""


def compared() -> list[Compared]:
    """Every row of the guide's tables that says a number."""
    return [*_memory(), *_rule(), *_shares(), *_trainable(), *_ranks(), *_gpus()]


def quoted_gpus(shape: Shape, tuning: Tuning) -> tuple[str, str] | None:
    """The minimum and the recommended GPU that the guide names for this model and tuning; None where it names none."""
    return GPU_CHOICES.get((shape.name, tuning))


def _memory() -> Iterator[Compared]:
    for (name, tuning), gigabytes in MEMORY_GB.items():
        shape = find_shape(name)
        total = memory(shape, Load(tuning)).total / GB
        yield Compared(
            "memory",
            f"{QUOTED_AS[name]}, {tuning}",
            f"~{gigabytes:,} GB",
            f"{total:,.0f} GB",
            _why_memory(shape, tuning, gigabytes, total),
        )


def _why_memory(shape: Shape, tuning: Tuning, gigabytes: int, total: float) -> str:
    if abs(total - gigabytes) <= 0.1 * gigabytes:
        return ""
    if tuning == "full":
        each = gigabytes * GB / shape.parameters
        lean = memory(shape, Load("full", master=False)).total / GB
        return (
            f"quoted are {each:.1f} bytes a parameter, and 16 are needed: float32 copies and moments are missing; with "
            f"all in bfloat16, which trains worse, it is {lean:,.0f} GB"
        )
    if tuning == "lora":
        least = (2 * shape.parameters + 16 * lora_parameters(shape, 16)) / GB
        return f"weights and adapter alone take {least:,.0f} GB; the rest depends on rows and batch"
    whole = (shape.parameters - shape.linear_parameters) * 2 / GB
    return f"only linear layers are in four bits: embedding and output layer stay whole, {whole:.1f} GB"


def _rule() -> Iterator[Compared]:
    shape = find_shape("8b")
    found = memory(shape, Load("full"))
    each = (found.weights + found.gradients + found.optimizer) / shape.parameters
    yield Compared(
        "bytes per parameter",
        "full, 2 weights + 2 gradients + 8 optimizer",
        "12–16",
        f"{each:.0f}",
        "12 leaves out the 4 of float32 copies; the same guide's table (60 GB for 8B) has 7.5",
    )


def _shares() -> Iterator[Compared]:
    shape = find_shape("8b")
    for tuning, share in SHARES.items():
        count = trainable_parameters(shape, Load(tuning, virtual_tokens=20))
        computed = 100 * count / shape.parameters
        why = "a factor for every key, value and MLP value" if tuning == "ia3" else ""
        if tuning == "prompt":
            why = "20 tokens; the share falls as the base grows"
        yield Compared("trainable share", tuning, share, f"{computed:.3g} %", why)
    yield Compared("trainable share", "adapter layers", "1–5 %", "–", "not offered: vLLM serves LoRA only")


def _trainable() -> Iterator[Compared]:
    shape, other = find_shape("8b"), find_shape("13b")
    count = lora_parameters(shape, 16)
    same = lora_parameters(other, 8, QUERY_VALUE)
    yield Compared(
        "trainable parameters",
        "Llama 3.1 8B, rank 16, all linear layers",
        "6,553,600 (0.0816 %)",
        f"{count:,} ({100 * count / shape.parameters:.2f} %)",
        f"{same:,} is rank 8 on q_proj and v_proj of Llama 2 13B; q_proj and v_proj of this model at rank 16 have "
        f"{lora_parameters(shape, 16, QUERY_VALUE):,}",
    )
    yield Compared("trainable parameters", "one 4096 × 4096 layer, rank 16", "131,072 (0.78 %)", "131,072 (0.78 %)")


def _ranks() -> Iterator[Compared]:
    shape = find_shape("mistral-7b")
    for rank, quoted in RANKS.items():
        count, two = lora_parameters(shape, rank), lora_parameters(shape, rank, QUERY_VALUE)
        yield Compared(
            "rank",
            f"7B, rank {rank}",
            quoted,
            f"{count / 1e6:.1f}M ({100 * count / shape.parameters:.2f} %)",
            f"computed for all linear layers; on q_proj and v_proj alone it is {two / 1e6:.1f}M",
        )


def _gpus() -> Iterator[Compared]:
    for (name, tuning), (least, good) in GPU_CHOICES.items():
        plan = plan_gpus(find_shape(name), Load(tuning))
        yield Compared(
            "gpu",
            f"{QUOTED_AS[name]}, {tuning}",
            f"{least}; recommended {good}",
            f"{shown(plan.minimum)}; recommended {shown(plan.recommended)}",
            _fits_quoted(name, tuning, least),
        )


def _fits_quoted(name: str, tuning: Tuning, quoted: str) -> str:
    """How full the quoted minimum would be."""
    count, _, gpu = quoted.rpartition(" × ")
    chosen = [one for one in GPUS if one.name == gpu]
    plan = plan_gpus(find_shape(name), Load(tuning), chosen, [int(count or 1)])
    if not plan.fits:
        return f"{quoted} is too small"
    return f"{quoted} would be {plan.fits[0].used_share:.0%} full"


def shown(fit: Fit | None) -> str:
    """`A100 80 GB`, `4 × L40S`, or `none`."""
    if fit is None:
        return "none"
    return fit.gpu.name if fit.count == 1 else f"{fit.count} × {fit.gpu.name}"
