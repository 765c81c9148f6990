"""A merged model as one GGUF file, for llama.cpp and what is built on it.

Names, order and metadata are those of the gguf package. Rows of query and key are put in llama.cpp's order for rotary
positions (its pairs are neighbours, Llama's are halves).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from trainer.errors import TrainerError
from trainer.export.checking import Check, compare
from trainer.export.gguf_tokenizer import add_tokenizer
from trainer.export.merged import Merged

GgufType = Literal["f16", "bf16", "f32", "q8_0"]
MODEL_TYPES = ("llama", "mistral")


def check_architecture(base_folder: Path) -> None:
    """Refuse what cannot be written, before anything is merged. Raises TrainerError."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(base_folder)
    biased = getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False)
    if config.model_type not in MODEL_TYPES or biased or config.hidden_act != "silu":
        raise TrainerError(
            f"GGUF is written for models of Llama's kind ({', '.join(MODEL_TYPES)}) without biases, and the base is a "
            f"{config.model_type!r}; export --as merged, and convert that folder with llama.cpp"
        )
    kind = _rope(config).get("rope_type", "default")
    if kind not in ("default", "llama3"):
        raise TrainerError(f"the base scales positions by {kind!r}, which is not written; export --as merged")


def write_gguf(folder: Path, file: Path, kind: GgufType, name: str) -> None:
    """Write the merged model in `folder` (float32) into `file`. Raises TrainerError for its tokenizer."""
    import gguf
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    writer = gguf.GGUFWriter(file, "llama", use_temp_file=True)
    try:
        _add_settings(writer, config, kind, name)
        add_tokenizer(writer, folder, config.vocab_size)
        for tensor, data, raw in _tensors(folder, config, kind):
            writer.add_tensor(tensor, data, raw_dtype=raw)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def check_gguf(file: Path, folder: Path, meant: Merged, kind: GgufType) -> Check:
    """Read it back with transformers, and compare answers and tokens. Raises TrainerError.

    Its reader does not know scaled positions: these are taken from the model's settings.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
    config.rope_parameters = AutoConfig.from_pretrained(folder).rope_parameters
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, config=config, dtype="float32"
    ).eval()
    check = compare(meant.meant, model, meant.texts, kind)
    written, ours = (
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name),
        AutoTokenizer.from_pretrained(folder),
    )
    for text in meant.texts:
        words = ours.decode(text)
        if written(words, add_special_tokens=False)["input_ids"] != ours(words, add_special_tokens=False)["input_ids"]:
            raise TrainerError(f"the tokenizer in {file.name} reads {words[:60]!r} otherwise; export --as merged")
    return check


def _add_settings(writer: Any, config: Any, kind: GgufType, name: str) -> None:
    import gguf

    head = config.head_dim or config.hidden_size // config.num_attention_heads
    writer.add_name(name)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(_rope(config)["rope_theta"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    kinds = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}
    writer.add_file_type(gguf.LlamaFileType[kinds[kind]])


def _tensors(folder: Path, config: Any, kind: GgufType) -> Iterator[tuple[str, Any, Any]]:
    """Name, data and type of each; norms stay float32, as llama.cpp has them."""
    import gguf
    import numpy as np
    from safetensors import safe_open

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    rope = _rope(config)
    if rope.get("rope_type") == "llama3":
        yield "rope_freqs.weight", np.array(_llama3_factors(config, rope), np.float32), None
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for tensor in sorted(file.keys()):
                name = names.get_name(tensor, try_suffixes=(".weight",))
                if name is None:
                    raise TrainerError(f"{tensor} has no name in GGUF; export --as merged")
                data = file.get_tensor(tensor).float().numpy()
                if ".q_proj." in tensor:
                    data = _paired(data, config.num_attention_heads)
                elif ".k_proj." in tensor:
                    data = _paired(data, config.num_key_value_heads)
                yield name, *_in_type(data, kind)


def _in_type(data: Any, kind: GgufType) -> tuple[Any, Any]:
    """As bytes of the type, and the type where numpy does not have it."""
    import gguf
    import numpy as np

    if kind == "f32" or data.ndim == 1:
        return data, None
    if kind == "f16" or (kind == "q8_0" and data.shape[-1] % 32):  # blocks are of 32
        return data.astype(np.float16), None
    raw = gguf.GGMLQuantizationType.BF16 if kind == "bf16" else gguf.GGMLQuantizationType.Q8_0
    return gguf.quants.quantize(data, raw), raw


def _paired(data: Any, heads: int) -> Any:
    """Rows of each head with its two halves taken in turn."""
    rows, columns = data.shape
    return data.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _rope(config: Any) -> dict[str, Any]:
    return dict(config.rope_parameters or {})


def _llama3_factors(config: Any, rope: dict[str, Any]) -> list[float]:
    """By which llama.cpp divides each frequency: Llama 3.1's rule, as in transformers' `rope_type = "llama3"`."""
    head = config.head_dim or config.hidden_size // config.num_attention_heads
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    before = rope["original_max_position_embeddings"]
    found = []
    for place in range(0, head, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (place / head)
        if wave < before / high:
            found.append(1.0)
        elif wave > before / low:
            found.append(float(factor))
        else:
            smooth = (before / wave - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return found
