"""Tokens a second and MFU of a training of an 8B-shaped model with random weights, on one GPU.

    python -m examples.gpu_speed --shape 8b --tuning lora --batch-size 4 --length 2048 --steps 10

It needs a GPU and no download; without a GPU it says so and ends with status 1. The last line is one JSON document.
MFU is the share of the GPU's peak that the model's own products use (PaLM, arXiv:2204.02311, appendix B); products
that are computed twice for gradient checkpointing do not count.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.training.sections import TrainingOptions
from tests.support.tiny_base import write_tiny_base
from trainer.data.encode import Encoded
from trainer.methods.loading import LoadedBase, load_tokenizer
from trainer.methods.rows import Rows
from trainer.methods.training import train

PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "RTX 4090": 165.0}
"""Of dense bfloat16 products, from the makers' data sheets; the first whose name is in the GPU's."""
SKIPPED_STEPS = 2
"""At the beginning, while kernels are chosen and memory is taken."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a Llama."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int


SHAPES = {
    "8b": Shape(4096, 14336, 32, 32, 8, 128_256),
    "1b": Shape(2048, 8192, 16, 32, 8, 128_256),
    "tiny": Shape(64, 64, 2, 4, 2, 512),
}


def flops_per_token(parameters: int, shape: Shape, length: int, *, full: bool) -> float:
    """Of forward and backward: 6 a weight and token, 4 where weights get no gradient, and attention's own.

    `parameters` without embeddings that are only looked up.
    """
    attention = 2 * 2 * shape.layers * shape.hidden * length  # scores and their sums, each 2 FLOPs, once forward
    return (6 if full else 4) * parameters + 3 * attention / 2  # causal: half of it; backward twice of forward


def random_base(shape: Shape, folder: Path, device: str) -> LoadedBase:
    """A model of this shape that knows nothing, in bfloat16 on a GPU, with the tests' tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    write_tiny_base(folder)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=8192,
        dtype=torch.bfloat16 if device == "cuda" else torch.float32,
    )
    with torch.device(device):
        model = LlamaForCausalLM(config).to(config.dtype)
    return LoadedBase("random", folder, model, load_tokenizer(folder))


def measure(shape: Shape, recipe: TrainingOptions, length: int, device: str) -> dict[str, Any]:
    """Train on random rows of so many tokens, of which the second half is learnt."""
    from trainer.watch import StepMetrics, Unwatched

    speeds: list[float] = []

    class Noting(Unwatched):
        def metrics(self, measured: StepMetrics) -> None:
            if measured.tokens_per_second is not None:
                speeds.append(measured.tokens_per_second)

    section = recipe.training
    assert section.max_steps is not None
    with tempfile.TemporaryDirectory(prefix="switchyard-gpu-") as folder:
        base = random_base(shape, Path(folder), device)
        parameters = sum(weight.numel() for weight in base.model.parameters()) - shape.vocabulary * shape.hidden
        rows = [_random_row(line, length) for line in range(section.batch_size * section.max_steps)]
        train(base, Rows(rows), recipe, Noting())
    kept = sorted(speeds[SKIPPED_STEPS:] or speeds)
    tokens_per_second = kept[len(kept) // 2]
    flops = flops_per_token(parameters, shape, length, full=recipe.model.tuning == "full")
    return {
        "parameters": parameters,
        "tokens_per_second": round(tokens_per_second, 1),
        "model_tflops": round(flops * tokens_per_second / 1e12, 3),
    }


def _random_row(line: int, length: int) -> Encoded:
    ids = [(line * 7919 + at * 104_729) % 250 for at in range(length)]
    return Encoded(line + 1, tuple(ids[: length // 2]), tuple(ids[length // 2 :]))


def main() -> int:
    """The command line; returns the exit status."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="8b")
    parser.add_argument("--tuning", choices=("lora", "full"), default="lora")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--length", type=int, default=2048, help="tokens of a row")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--peak-tflops", type=float, help="of the GPU in dense bfloat16; default: known by its name")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no GPU here, and the speed of an 8B model on a CPU says nothing", file=sys.stderr)
        return 1
    name = torch.cuda.get_device_name(0)
    peak = given.peak_tflops or next((peak for known, peak in PEAK_TFLOPS.items() if known in name), None)
    section = {"max_steps": given.steps, "batch_size": given.batch_size, "gradient_checkpointing": True}
    recipe = TrainingOptions.model_validate({"model": {"tuning": given.tuning}, "training": section, "evaluation": {}})
    found = measure(SHAPES[given.shape], recipe, given.length, "cuda")
    found |= {"gpu": name, "peak_gpu_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1)}
    found["mfu"] = round(found["model_tflops"] / peak, 3) if peak else None
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
