"""Base models in memory: as they are served, and in four bits for a training that has little room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import first_line
from trainer.errors import BaseModelError


@dataclass(frozen=True, slots=True)
class LoadedBase:
    """A base model in memory, in the precision in which it is served.

    `name` is what adapters record as their base, never a path of this machine; `folder` is where it was loaded from.
    """

    name: str
    folder: Path
    model: Any
    tokenizer: Any


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder, padding on the left. Raises BaseModelError."""
    from transformers import AutoTokenizer

    with loading(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(folder: Path, tokenizer: Any = None) -> LoadedBase:
    """Load the model from a folder, float32 on the CPU, bfloat16 on a GPU, and the tokenizer if it is not given.

    On the CPU float32, because bfloat16 products die on machines that advertise AMX without granting it.
    Raises BaseModelError.
    """
    import torch
    from transformers import AutoModelForCausalLM

    cuda = torch.cuda.is_available()
    with loading(folder):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16 if cuda else torch.float32)
    name, model = folder.resolve().name, model.to("cuda") if cuda else model
    return LoadedBase(name, folder, model, load_tokenizer(folder) if tokenizer is None else tokenizer)


def load_in_four_bits(folder: Path) -> Any:
    """The model in a folder with its linear layers in NF4, the constants of it quantised too (QLoRA, arXiv:2305.14314).

    Raises BaseModelError.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda else torch.float32
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    with loading(folder):
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            quantization_config=four_bits,
            device_map={"": torch.cuda.current_device() if cuda else "cpu"},
        )
    for module in model.modules():
        # On a CPU the first answer without gradients would change how weights are stored for good, and from then on
        # training would go through a kernel that gives no gradients, in silence.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def cast(model: Any, dtype: Any) -> None:
    """Give the weights another precision. Buffers keep theirs: positions that have once been rounded stay wrong."""
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)


@contextmanager
def loading(
    folder: Path,
    what: str = "the base model in",
    remedy: str = "give a folder that transformers can load",
) -> Iterator[None]:
    """Whatever goes wrong inside becomes a BaseModelError that names the folder."""
    try:
        yield
    except Exception as error:  # of transformers, tokenizers, safetensors and OSError there is no nearer ancestor
        raise BaseModelError(f"{what} {folder} does not load ({first_line(error):.300}); {remedy}") from error
