"""Which GPUs a training fits on, and how fast they might do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trainer.quote.memory import Load, Memory, memory
from trainer.quote.shapes import Shape

GB = 1_000_000_000
COUNTS = (1, 2, 4, *range(8, 65, 8))
"""How many GPUs of one kind are tried."""
COMFORTABLE_SHARE = 0.8
"""Of a GPU's memory: what is recommended leaves the rest for longer rows and larger batches."""
USED_SHARE_OF_PEAK = 0.3
"""Of the peak that a training reaches. An assumption: half of it is common for LoRA with short rows, twice is rare."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """`gigabytes` is the vendor's figure, taken as 1e9 bytes, which is no more than drivers report. `tflops` are dense
    bfloat16 products per second in 1e12, added up in float32. `source` says whose figures these are and of when.
    """

    name: str
    gigabytes: int
    tflops: int
    source: str


GPUS: tuple[Gpu, ...] = (
    Gpu("RTX 3090", 24, 71, "NVIDIA, GA102 architecture whitepaper, 2021"),
    Gpu("A10", 24, 125, "NVIDIA, A10 datasheet, 2021"),
    Gpu("L4", 24, 121, "NVIDIA, L4 datasheet, 2023"),
    Gpu("RTX 4090", 24, 165, "NVIDIA, Ada architecture whitepaper, 2022"),
    Gpu("RTX 5090", 32, 210, "NVIDIA, RTX Blackwell architecture whitepaper, 2025"),
    Gpu("A100 40 GB", 40, 312, "NVIDIA, A100 datasheet, 2020"),
    Gpu("RTX A6000", 48, 155, "NVIDIA, RTX A6000 datasheet, 2020"),
    Gpu("L40S", 48, 362, "NVIDIA, L40S datasheet, 2023"),
    Gpu("A100 80 GB", 80, 312, "NVIDIA, A100 datasheet, 2020"),
    Gpu("H100 PCIe", 80, 756, "NVIDIA, H100 datasheet, 2022"),
    Gpu("H100 SXM", 80, 989, "NVIDIA, H100 datasheet, 2022"),
    Gpu("H200", 141, 989, "NVIDIA, H200 datasheet, 2023"),
    Gpu("B200", 180, 2_250, "NVIDIA, DGX B200 datasheet, 2024"),
    Gpu("MI300X", 192, 1_307, "AMD, MI300X datasheet, 2023"),
)


@dataclass(frozen=True, slots=True)
class Fit:
    """The fewest GPUs of one kind that a training fits on; `tokens_per_second` is of all of them together."""

    gpu: Gpu
    count: int
    need: Memory
    tokens_per_second: float

    @property
    def used_share(self) -> float:
        """Of each GPU's memory."""
        return self.need.total / (self.gpu.gigabytes * GB)


@dataclass(frozen=True, slots=True)
class GpuPlan:
    """`fits` has a line for each kind of GPU that can do it; both choices are None when none can.

    `minimum` are the fewest GPUs, of these the smallest, of these the slowest; `recommended` is the same among those
    that are filled to 80 % at most, and the fastest of its size.
    """

    shape: Shape
    load: Load
    fits: tuple[Fit, ...]
    minimum: Fit | None
    recommended: Fit | None


def plan_gpus(shape: Shape, load: Load, gpus: Sequence[Gpu] = GPUS, counts: Sequence[int] = COUNTS) -> GpuPlan:
    """Try every kind of GPU in every count. Raises BaseModelError for targets that the model has not."""
    tried = [_fit(shape, load, gpu, count) for gpu in gpus for count in counts]
    fits = [fit for fit in tried if fit.used_share <= 1]
    comfortable = [fit for fit in fits if fit.used_share <= COMFORTABLE_SHARE]
    fewest = [fit for gpu in gpus if (fit := next((one for one in fits if one.gpu is gpu), None))]
    return GpuPlan(
        shape,
        load,
        tuple(fewest),
        min(fits, key=lambda fit: (fit.count, fit.gpu.gigabytes, fit.gpu.tflops), default=None),
        min(comfortable, key=lambda fit: (fit.count, fit.gpu.gigabytes, -fit.gpu.tflops), default=None),
    )


def operations_per_token(shape: Shape, load: Load) -> float:
    """Floating-point operations of one trained token: 2 a weight forward, 2 for the gradients of what it reads, 2 for
    its own gradient where it is trained (Kaplan et al. 2020, section 2.1), and with checkpointing 2 once more.
    Attention's scores, which grow with the length of rows, are left out.
    """
    per_weight = 2 + 2 + (2 if load.tuning == "full" else 0) + (2 if load.checkpointing else 0)
    return per_weight * (shape.linear_parameters + shape.vocab * shape.hidden)


def _fit(shape: Shape, load: Load, gpu: Gpu, count: int) -> Fit:
    pace = count * gpu.tflops * 1e12 * USED_SHARE_OF_PEAK / operations_per_token(shape, load)
    return Fit(gpu, count, memory(shape, replace(load, gpus=count)), pace)
