"""One form for what different library versions write differently: settings, tokenizer, chat templates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from registry.bases.files import TEMPLATE_FOLDER, BaseFiles, read_json, read_text
from registry.errors import InvalidInput

MEANINGFUL = (
    "num_attention_heads", "num_hidden_layers", "hidden_act", "hidden_activation", "rms_norm_eps", "layer_norm_eps",
    "layer_norm_epsilon", "norm_eps", "sliding_window", "use_sliding_window", "max_window_layers", "layer_types",
    "sliding_window_pattern", "no_rope_layers", "partial_rotary_factor", "rope_interleaved",
    "attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar", "logit_scale", "logits_scaling",
    "embedding_multiplier", "residual_multiplier", "attention_multiplier", "use_qk_norm", "parallel_attn", "alibi",
    "num_experts_per_tok", "norm_topk_prob", "routed_scaling_factor", "scoring_func", "n_group", "topk_group",
    "first_k_dense_replace", "moe_layer_freq", "decoder_sparse_step", "mlp_only_layers",
)  # fmt: skip
"""Settings that change what the same tensors compute. Sizes are left out: the tensors' shapes tell them."""

SHAPES_KEPT = frozenset({"fp8", "fbgemm_fp8"})
"""Quantisations that store every matrix in its own shape; the others pack it, and an adapter could not be checked."""

RAW_VOCABULARIES = ("tokenizer.model", "tekken.json", "vocab.json", "merges.txt", "added_tokens.json")
SPECIAL_TOKENS = ("bos_token", "eos_token")
DEFAULT_ROPE_THETA = 10_000


def text_config(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of `config.json`."""
    nested = document.get("text_config")
    return nested if isinstance(nested, dict) else document


def canonical_settings(document: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that matter, with the defaults filled in that library versions write or leave out.

    Raises `InvalidInput` for a quantisation that packs matrices.
    """
    quantisation = document.get("quantization_config")
    method = quantisation.get("quant_method") if isinstance(quantisation, dict) else None
    if quantisation and method not in SHAPES_KEPT:
        raise InvalidInput(
            f"config.json: quantization_config has quant_method {method!r}, which hides the shapes of the weights; "
            "register the model that it was made from",
            param="base",
        )
    settings: dict[str, Any] = {name: config[name] for name in MEANINGFUL if config.get(name) is not None}
    heads, width = config.get("num_attention_heads"), config.get("hidden_size")
    settings["num_key_value_heads"] = config.get("num_key_value_heads") or heads
    share = width // heads if isinstance(width, int) and isinstance(heads, int) and heads > 0 else None
    settings["head_dim"] = config.get("head_dim") or share
    settings["rope"] = _rope(config)
    settings["model_type"] = config.get("model_type")
    settings["quantization"] = quantisation or None
    plain: dict[str, Any] = _plain(settings)
    return plain


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Position encoding, whether written as `rope_parameters` or as `rope_theta` and `rope_scaling`."""
    written = config.get("rope_parameters") or config.get("rope_scaling")
    rope = dict(written) if isinstance(written, dict) else {}
    if "type" in rope:
        rope.setdefault("rope_type", rope.pop("type"))
    rope.setdefault("rope_type", "default")
    rope.setdefault("rope_theta", config.get("rope_theta") or DEFAULT_ROPE_THETA)
    return {name: value for name, value in rope.items() if value is not None}


def _plain(value: Any) -> Any:
    """1.0 and 1 are one number; JSON writers disagree about which to write."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def canonical_tokenizer(files: BaseFiles) -> dict[str, Any]:
    """The tokenizer: hex sha256 of `tokenizer.json` in one form, or of the raw vocabulary files, and special tokens."""
    settings = read_json(files.text["tokenizer_config.json"]) if "tokenizer_config.json" in files.text else {}
    special = {name: _content(settings.get(name)) for name in SPECIAL_TOKENS}
    if "tokenizer.json" in files.text:
        return {"special": special, "fast": _fast_tokenizer(read_json(files.text["tokenizer.json"]))}
    raw = {name: files.text[name] for name in RAW_VOCABULARIES if name in files.text}
    if not raw:
        raise InvalidInput(
            f"{files.folder / 'tokenizer.json'} is missing; save the tokenizer beside the model", param="base"
        )
    return {
        "special": special,
        "adds": {name: bool(settings.get(name)) for name in ("add_bos_token", "add_eos_token")},
        "raw": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in raw.items()},
    }


def _fast_tokenizer(document: dict[str, Any]) -> str:
    """Truncation and padding are left out: they are what the last caller asked for, not what the tokenizer is."""
    kept = {key: value for key, value in document.items() if key not in ("truncation", "padding", "version")}
    model = kept.get("model")
    if isinstance(model, dict) and isinstance(model.get("merges"), list):
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        kept["model"] = {**model, "merges": pairs}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _content(token: Any) -> Any:
    """A special token is written as text or as an object that holds it."""
    return token.get("content") if isinstance(token, dict) else token


def chat_templates(files: BaseFiles) -> dict[str, str]:
    """Chat templates by name, wherever they are written; a file of their own wins over the tokenizer's settings."""
    templates: dict[str, str] = {}
    for name in ("tokenizer_config.json", "chat_template.json"):
        if name in files.text:
            templates |= _written_in(read_json(files.text[name]).get("chat_template"))
    for name, path in files.text.items():
        if name == "chat_template.jinja":
            templates["default"] = read_text(path)
        elif name.startswith(TEMPLATE_FOLDER):
            templates[path.stem] = read_text(path)
    return {name: _as_jinja_reads(text) for name, text in templates.items()}


def _written_in(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        return {"default": value}
    items = value if isinstance(value, list) else []
    return {
        str(item.get("name")): str(item["template"]) for item in items if isinstance(item, dict) and "template" in item
    }


def _as_jinja_reads(text: str) -> str:
    """Jinja reads every line end as LF and drops one at the end of the template."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
