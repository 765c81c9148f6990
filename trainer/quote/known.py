"""Shapes of models that people ask about, by name: what stands in the `config.json` that their makers publish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.errors import BaseModelError
from trainer.quote.shapes import Shape, read_shape, shape_of


def _llama(hidden: int, layers: int, heads: tuple[int, int], wide: int, vocab: int = 128_256, **more: Any) -> Any:
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "intermediate_size": wide,
        "vocab_size": vocab,
        "max_position_embeddings": 131_072,
        **more,
    }


CONFIGS: dict[str, dict[str, Any]] = {
    "smollm2-135m": _llama(576, 30, (9, 3), 1_536, 49_152, tie_word_embeddings=True, max_position_embeddings=8_192),
    "llama-3.2-1b": _llama(2_048, 16, (32, 8), 8_192, tie_word_embeddings=True),
    "llama-3.2-3b": _llama(3_072, 28, (24, 8), 8_192, tie_word_embeddings=True),
    "llama-3.1-8b": _llama(4_096, 32, (32, 8), 14_336),
    "llama-3.1-70b": _llama(8_192, 80, (64, 8), 28_672),
    "llama-3.1-405b": _llama(16_384, 126, (128, 8), 53_248),
    "llama-2-7b": _llama(4_096, 32, (32, 32), 11_008, 32_000, max_position_embeddings=4_096),
    "llama-2-13b": _llama(5_120, 40, (40, 40), 13_824, 32_000, max_position_embeddings=4_096),
    "mistral-7b": _llama(4_096, 32, (32, 8), 14_336, 32_768, model_type="mistral", max_position_embeddings=32_768),
    "qwen2.5-7b": _llama(3_584, 28, (28, 4), 18_944, 152_064, model_type="qwen2", max_position_embeddings=32_768),
    "qwen3-8b": _llama(
        4_096, 36, (32, 8), 12_288, 151_936, model_type="qwen3", head_dim=128, max_position_embeddings=40_960
    ),
    "phi-4": _llama(5_120, 40, (40, 10), 17_920, 100_352, model_type="phi3", max_position_embeddings=16_384),
}
"""Name → the settings that decide a shape."""

SHORT = {
    "135m": "smollm2-135m", "1b": "llama-3.2-1b", "3b": "llama-3.2-3b", "7b": "llama-2-7b", "8b": "llama-3.1-8b",
    "13b": "llama-2-13b", "70b": "llama-3.1-70b", "405b": "llama-3.1-405b", "mistral": "mistral-7b",
    "llama-3-8b": "llama-3.1-8b", "llama-3-70b": "llama-3.1-70b", "llama-3.3-70b": "llama-3.1-70b",
}  # fmt: skip
"""Other names of them; Llama 3 and 3.3 have the shapes of 3.1."""


def find_shape(model: str) -> Shape:
    """The shape of a known model, or of the model in a folder. Raises BaseModelError with the names that are known."""
    name = model.lower().rpartition("/")[2].removesuffix("-instruct")
    name = SHORT.get(name, name)
    if name in CONFIGS:
        return shape_of(CONFIGS[name], name)
    if Path(model).expanduser().is_dir():
        return read_shape(Path(model).expanduser())
    raise BaseModelError(
        f"{model!r} is no folder and no known model; give a folder with config.json, or one of "
        f"{', '.join([*CONFIGS, *SHORT])}"
    )
