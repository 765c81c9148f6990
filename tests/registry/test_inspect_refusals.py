"""A museum of broken adapters: each is refused for its own reason, at the right file and tensor."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from registry.adapters.inspect import MAX_FINDINGS, inspect_adapter
from registry.bases.model import BaseSpec
from registry.errors import AdapterRefused, Finding
from tests.support.adapter_folders import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Tensor,
    a_name,
    b_name,
    lora_config,
    lora_tensors,
    pair,
    safetensors_bytes,
    tensor,
    tiny_base,
    with_header,
    write_adapter,
)

Breaker = Callable[[Path], object]
Q0 = "model.layers.0.self_attn.q_proj"
DOWN1 = "model.layers.1.mlp.down_proj"
K1 = "model.layers.1.self_attn.k_proj"
EMBED_A = "base_model.model.model.embed_tokens.lora_embedding_A"


def refusal(folder: Path, base: BaseSpec | None = None, declared_base: str | None = None) -> tuple[Finding, ...]:
    with pytest.raises(AdapterRefused) as refused:
        inspect_adapter(folder, base or tiny_base(), max_rank=8, declared_base=declared_base)
    assert json.dumps([finding.as_dict() for finding in refused.value.findings]).isascii()
    return refused.value.findings


def config(**changes: Any) -> Breaker:
    return lambda folder: (folder / CONFIG_FILE).write_text(json.dumps(lora_config(**changes)))


def without_key(key: str) -> Breaker:
    kept = {name: value for name, value in lora_config().items() if name != key}
    return lambda folder: (folder / CONFIG_FILE).write_text(json.dumps(kept))


def config_text(text: str) -> Breaker:
    return lambda folder: (folder / CONFIG_FILE).write_text(text)


def tensors(changes: Mapping[str, Tensor] | None = None, drop: tuple[str, ...] = ()) -> Breaker:
    changed = {name: item for name, item in (lora_tensors() | dict(changes or {})).items() if name not in drop}
    return weights(safetensors_bytes(changed))


def weights(data: bytes) -> Breaker:
    return lambda folder: (folder / WEIGHTS_FILE).write_bytes(data)


def header(entries: Mapping[str, Any] | bytes, data: bytes = b"") -> Breaker:
    return weights(with_header(entries if isinstance(entries, bytes) else json.dumps(entries).encode(), data))


def entry(begin: int, end: int, shape: list[Any] | None = None, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


def linked(name: str, target: str) -> Breaker:
    def link(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return link


def with_infinity(dtype: str, value: float) -> Breaker:
    changed = lora_tensors(dtype)
    changed[b_name(Q0)] = tensor(16, 4, dtype=dtype, fill=value)
    return weights(safetensors_bytes(changed))


NO_B = {b_name(module): tensor(out, 4, fill=0.0) for module, (out, _) in tiny_base().linears.items()}
NO_A = {a_name(module): tensor(4, into, fill=-0.0) for module, (_, into) in tiny_base().linears.items()}
NAMELESS = "model.layers.0.self_attn.q_proj.lora_A.weight"
LAYER_9 = "base_model.model.model.layers.9.mlp.up_proj.lora_A.weight"
NOWHERE = "base_model.model.model.layers.0.mlp.gate_up_proj.lora_A.weight"
NAMED = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"
DORA = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"
FULL = "base_model.model.model.embed_tokens.weight"

# what is wrong, how to break a sound folder, code, file
BROKEN_FOLDERS: list[tuple[str, Breaker, str, str]] = [
    ("there is no configuration", lambda f: (f / CONFIG_FILE).unlink(), "file_missing", CONFIG_FILE),
    ("there are no weights", lambda f: (f / WEIGHTS_FILE).unlink(), "file_missing", WEIGHTS_FILE),
    ("the configuration is a link", linked(CONFIG_FILE, "/etc/passwd"), "not_a_regular_file", CONFIG_FILE),
    ("the weights are a link", linked(WEIGHTS_FILE, "/dev/zero"), "not_a_regular_file", WEIGHTS_FILE),
    ("the configuration is huge", config_text(" " * 2_000_000), "file_too_large", CONFIG_FILE),
    ("the weights are huge", lambda f: os.truncate(f / WEIGHTS_FILE, 2**30), "file_too_large", WEIGHTS_FILE),
]  # fmt: skip

# what is wrong, how to break the configuration, code
BROKEN_CONFIGS: list[tuple[str, Breaker, str]] = [
    ("the configuration is no JSON", config_text("{r: 8}"), "config_not_json"),
    ("the configuration is a list", config_text("[]"), "config_not_json"),
    ("the configuration has a key twice", config_text('{"r": 8, "r": 4}'), "config_not_json"),
    ("the configuration is nested too deep", config_text("[" * 500_000), "config_not_json"),
    ("the configuration holds a NaN", config_text('{"lora_alpha": NaN}'), "config_not_json"),
    ("it is an adapter of another kind", config(peft_type="IA3"), "peft_type_unsupported"),
    ("it is a classifier", config(task_type="SEQ_CLS"), "task_type_unsupported"),
    ("it is DoRA", config(use_dora=True), "feature_unsupported"),
    ("it has a LoRA bias", config(lora_bias=True), "feature_unsupported"),
    ("it trained biases", config(bias="lora_only"), "feature_unsupported"),
    ("it saves whole modules", config(modules_to_save=["lm_head"]), "feature_unsupported"),
    ("it is activated by tokens", config(alora_invocation_tokens=[1]), "feature_unsupported"),
    ("it replicates layers", config(layer_replication=[[0, 1]]), "feature_unsupported"),
    ("it is block-diagonal", config(use_bdlora={"nblocks": 2}), "feature_unsupported"),
    ("it is QALoRA", config(use_qalora=True), "feature_unsupported"),
    ("it trained single tokens", config(trainable_token_indices=[5]), "feature_unsupported"),
    ("it adapts parameters", config(target_parameters=["experts.w"]), "feature_unsupported"),
    ("it began as PiSSA", config(init_lora_weights="pissa_niter_4"), "init_unsupported"),
    ("it began as OLoRA", config(init_lora_weights="olora"), "init_unsupported"),
    ("it began as LoftQ", config(init_lora_weights="loftq"), "init_unsupported"),
    ("it has a setting of the future", config(use_quantum=True), "setting_unknown"),
    ("rsLoRA is neither on nor off", config(use_rslora="yes"), "setting_invalid"),
    ("the rank is missing", without_key("r"), "rank_invalid"),
    ("the rank is zero", config(r=0), "rank_invalid"),
    ("the rank is true", config(r=True), "rank_invalid"),
    ("the rank is a text", config(r="8"), "rank_invalid"),
    ("the rank is above the engines'", config(r=16), "rank_too_high"),
    ("a rank of the pattern is above it", config(rank_pattern={"q_proj": 9}), "rank_too_high"),
    ("a rank of the pattern is no number", config(rank_pattern={"q_proj": "4"}), "pattern_invalid"),
    ("a rank of the pattern is broken", config(rank_pattern={"q_proj": 1.5}), "pattern_invalid"),
    ("a rank of the pattern is negative", config(rank_pattern={"q_proj": -1}), "pattern_invalid"),
    ("the rank pattern is a list", config(rank_pattern=["q_proj"]), "pattern_invalid"),
    ("an alpha of the pattern is zero", config(alpha_pattern={"q_proj": 0}), "pattern_invalid"),
    ("a rank pattern never ends", config(rank_pattern={"(.*)*x": 4}), "pattern_not_explicit"),
    ("an alpha pattern never ends", config(alpha_pattern={".*.*.*.*x": 4}), "pattern_not_explicit"),
    ("a pattern begins anywhere", config(alpha_pattern={".*q_proj": 4}), "pattern_not_explicit"),
    ("a pattern is anchored", config(rank_pattern={"^q_proj": 4}), "pattern_not_explicit"),
    ("a pattern is no expression", config(rank_pattern={"q_proj(": 4}), "pattern_not_explicit"),
    ("a pattern is empty", config(rank_pattern={"": 4}), "pattern_not_explicit"),
    ("a key has a line end", config(alpha_pattern={"q_proj\n": 4}), "pattern_not_explicit"),
    ("a key is as long as a book", config(alpha_pattern={"q" * 5_000: 4}), "pattern_not_explicit"),
    ("a target is an expression", config(target_modules=".*"), "pattern_not_explicit"),
    ("targets are a word for all", config(target_modules="all-linear"), "pattern_not_explicit"),
    ("a target never ends", config(target_modules="(.+)+_proj"), "pattern_not_explicit"),
    ("the exclusion never ends", config(exclude_modules="(.+)+_proj"), "pattern_not_explicit"),
    ("an exclusion in a list is no name", config(exclude_modules=["(.+)+"]), "pattern_not_explicit"),
    ("the layers' pattern never ends", config(layers_to_transform=[0], layers_pattern="(.+)+"), "pattern_not_explicit"),
    ("layers' patterns never end", config(layers_to_transform=[0], layers_pattern=["(.+)+"]), "pattern_not_explicit"),
    ("a layer is a text", config(layers_to_transform=["0"]), "setting_invalid"),
    ("a listed target is an expression", config(target_modules=["q_proj", ".*"]), "targets_invalid"),
    ("it names code to import", config(auto_mapping={"parent_library": "os"}), "training_setting"),
    ("it names another engine of training", config(megatron_core="antigravity"), "setting_invalid"),
    ("the base's name is a list", config(base_model_name_or_path=["a"]), "setting_invalid"),
    ("dropout is a text", config(lora_dropout="none"), "setting_invalid"),
    ("dropout is more than all", config(lora_dropout=2), "setting_invalid"),
    ("the revision is a number", config(revision=7), "setting_invalid"),
    ("there are no targets", config(target_modules=[]), "targets_invalid"),
    ("a target is a number", config(target_modules=[1]), "targets_invalid"),
    ("alpha is missing", without_key("lora_alpha"), "alpha_invalid"),
    ("alpha is zero", config(lora_alpha=0), "alpha_invalid"),
    ("alpha is huge", config(lora_alpha=10**18 * 9.3), "alpha_invalid"),
    ("alpha has hundreds of digits", config(lora_alpha=10**400), "config_not_json"),
    ("the dropout is beyond floats", config_text('{"lora_dropout": 1e400}'), "config_not_json"),
    ("there is half a surrogate pair", config(base_model_name_or_path="\ud800"), "config_not_json"),
    ("there is a byte order mark", config_text("\ufeff{}"), "config_not_json"),
]  # fmt: skip

# what is wrong, how to break the weights, code, tensor
BROKEN_TENSORS: list[tuple[str, Breaker, str, str | None]] = [
    ("half a pair lacks B", tensors(drop=(b_name(Q0),)), "pair_incomplete", a_name(Q0)),
    ("half a pair lacks A", tensors(drop=(a_name(DOWN1),)), "pair_incomplete", b_name(DOWN1)),
    ("a declared module lacks both", tensors(drop=(a_name(Q0), b_name(Q0))), "module_missing", a_name(Q0)),
    ("a layer lies beyond the base", tensors({LAYER_9: tensor(4, 16)}), "layer_beyond_base", LAYER_9),
    ("the base has no such module", tensors({NOWHERE: tensor(4, 16)}), "module_unknown", NOWHERE),
    ("a name lacks the prefix", tensors({NAMELESS: tensor(4, 16)}), "tensor_unsupported", NAMELESS),
    ("a name holds the adapter's name", tensors({NAMED: tensor(4, 16)}), "tensor_unsupported", NAMED),
    ("there is a magnitude vector", tensors({DORA: tensor(16)}), "tensor_unsupported", DORA),
    ("there is a full embedding", tensors({FULL: tensor(24, 16)}), "tensor_unsupported", FULL),
    ("a tied embedding is adapted", tensors({EMBED_A: tensor(4, 24)}), "tied_embedding", EMBED_A),
    ("A is for a smaller base", tensors({a_name(Q0): tensor(4, 8)}), "shape_mismatch", a_name(Q0)),
    ("B is for a larger base", tensors({b_name(DOWN1): tensor(64, 4)}), "shape_mismatch", b_name(DOWN1)),
    ("A and B are exchanged", tensors({a_name(Q0): tensor(16, 4)}), "shape_mismatch", a_name(Q0)),
    ("A is flat", tensors({a_name(K1): tensor(64)}), "shape_mismatch", a_name(K1)),
    ("a rank is not the configured one", tensors(pair(K1, rank=2)), "shape_mismatch", a_name(K1)),
    ("the rank pattern is not kept", config(rank_pattern={"k_proj": 2}), "shape_mismatch", a_name(K1)),
    ("a tensor is no declared target", config(target_modules=["k_proj"]), "target_not_declared", a_name(Q0)),
    ("a tensor is double", tensors({a_name(Q0): tensor(4, 16, dtype="F64")}), "dtype_unsupported", a_name(Q0)),
    ("a tensor is bytes", tensors({a_name(Q0): Tensor("I8", (4, 16), bytes(64))}), "dtype_unsupported", a_name(Q0)),
    ("a single value is NaN", with_infinity("F32", float("nan")), "not_finite", b_name(Q0)),
    ("a bfloat16 value is infinite", with_infinity("BF16", float("-inf")), "not_finite", b_name(Q0)),
    ("a float16 value is NaN", with_infinity("F16", float("nan")), "not_finite", b_name(Q0)),
    ("all of B is zero", tensors(NO_B), "no_effect", None),
    ("all of A is minus zero", tensors(NO_A), "no_effect", None),
    ("there are no tensors", header({}), "no_tensors", None),
]  # fmt: skip

# what is wrong, how to break the header of the weights, code, tensor
BROKEN_HEADERS: list[tuple[str, Breaker, str, str | None]] = [
    ("the file is empty", weights(b""), "header_truncated", None),
    ("the header is longer than the file", weights(with_header(b"{}", length=99)), "header_beyond_file", None),
    ("the length is negative", weights(b"\xff" * 8 + b"{}"), "header_beyond_file", None),
    ("the header is no JSON", header(b"{]"), "header_not_json", None),
    ("the header is no UTF-8", header(b'{"\xff": 1}'), "header_not_json", None),
    ("the header is a list", header(b"[]"), "header_not_json", None),
    ("the header is nested too deep", header(b"[" * 500_000), "header_not_json", None),
    ("the header holds a huge number", header(b'{"a": ' + b"9" * 9_000 + b"}"), "header_not_json", None),
    ("the header names a tensor twice", header(b'{"a": 1, "a": 2}'), "header_duplicate_key", "a"),
    ("an entry is a number", header({"a": 1}), "header_entry_malformed", "a"),
    ("an entry has a key more", header({"a": entry(0, 4) | {"b": 1}}, bytes(4)), "header_entry_malformed", "a"),
    ("a dtype is unknown", header({"a": entry(0, 4, dtype="F128")}, bytes(4)), "header_dtype_unknown", "a"),
    ("a dimension is negative", header({"a": entry(0, 4, [-1])}, bytes(4)), "header_shape_malformed", "a"),
    ("a dimension is true", header({"a": entry(0, 4, [True])}, bytes(4)), "header_shape_malformed", "a"),
    ("an offset is negative", header({"a": entry(-4, 0)}, bytes(4)), "header_offsets_malformed", "a"),
    ("offsets run backwards", header({"a": entry(4, 0, [1])}, bytes(4)), "header_offsets_malformed", "a"),
    ("a shape does not fit its bytes", header({"a": entry(0, 8, [3])}, bytes(8)), "tensor_size_mismatch", "a"),
    ("tensors overlap", header({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)), "tensor_overlap", "b"),
    ("two tensors share bytes", header({"a": entry(0, 8), "b": entry(0, 8)}, bytes(8)), "tensor_overlap", "b"),
    ("there is a gap", header({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)), "tensor_gap", "b"),
    ("the data is cut short", header({"a": entry(0, 8)}, bytes(7)), "data_truncated", "a"),
    ("something follows the data", header({"a": entry(0, 4)}, bytes(9)), "trailing_data", None),
    ("a name cannot be printed", header({"\x07\n": entry(0, 4)}, bytes(4)), "tensor_unsupported", "\\x07\\n"),
    ("a name is half a surrogate pair", header({"\ud800": entry(0, 4)}, bytes(4)), "header_not_json", None),
    ("the header begins with a blank", header(b" {}"), "header_not_json", None),
    ("the metadata is a list", header({"__metadata__": []}), "header_metadata_malformed", "__metadata__"),
    ("the metadata holds a number", header({"__metadata__": {"a": 1}}), "header_metadata_malformed", "__metadata__"),
    ("the metadata is huge", header({"__metadata__": {"a": "x" * 2**21}}), "header_metadata_too_large", "__metadata__"),
    ("a shape is infinite", header(b'{"a": {"dtype": "F32", "shape": [1e999]}}'), "header_not_json", None),
]  # fmt: skip

BROKEN: list[tuple[str, Breaker, str, str, str | None]] = [
    *((*row, None) for row in BROKEN_FOLDERS),
    *((*row, CONFIG_FILE, None) for row in BROKEN_CONFIGS),
    *((*row[:3], WEIGHTS_FILE, row[3]) for row in BROKEN_TENSORS + BROKEN_HEADERS),
]


@pytest.mark.parametrize(
    ("breaker", "code", "file", "tensor_name"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_a_broken_adapter_is_refused_for_its_own_reason_when(
    tmp_path: Path, breaker: Breaker, code: str, file: str, tensor_name: str | None
) -> None:
    folder = write_adapter(tmp_path / "adapter")
    breaker(folder)
    findings = refusal(folder)
    assert (code, file, tensor_name) in [(finding.code, finding.file, finding.tensor) for finding in findings]


def test_a_header_larger_than_any_real_one_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path)
    with (folder / WEIGHTS_FILE).open("wb") as file:
        file.write((40 * 2**20).to_bytes(8, "little"))
        file.truncate(41 * 2**20)
    wide = tiny_base(linears={"model.layers.0.mlp.up_proj": (10**6, 10**6)})
    assert [finding.code for finding in refusal(folder, wide)] == ["header_too_large"]


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert [finding.code for finding in refusal(tmp_path / "gone")] == ["file_missing", "file_missing"]


def test_an_adapter_trained_on_another_base_is_refused_though_all_shapes_fit(tmp_path: Path) -> None:
    base = tiny_base()
    other = "sha256:" + "1" * 64
    (finding,) = refusal(write_adapter(tmp_path), base, declared_base=other)
    assert (finding.code, finding.file) == ("base_mismatch", "lineage")
    assert other in finding.found
    assert base.digest in finding.expected


def test_lora_on_a_vocabulary_that_vllm_cannot_take_is_refused(tmp_path: Path) -> None:
    base = tiny_base(
        tied_embeddings=False, vocab_size=300_000, linears={**tiny_base().linears, "lm_head": (300_000, 16)}
    )
    changed = lora_tensors() | {a_name("lm_head"): tensor(4, 16), b_name("lm_head"): tensor(300_000, 4)}
    folder = write_adapter(tmp_path, {"target_modules": [*lora_config()["target_modules"], "lm_head"]}, changed)
    assert {finding.code for finding in refusal(folder, base)} == {"vocabulary_too_large", "module_missing"}


def test_all_faults_are_told_at_once_and_in_order(tmp_path: Path) -> None:
    changed = lora_tensors() | {a_name(Q0): tensor(4, 8), b_name(Q0): tensor(16, 4, fill=float("inf"))}
    folder = write_adapter(tmp_path, {"use_dora": True, "bias": "all"}, changed)
    assert [(finding.code, finding.tensor) for finding in refusal(folder, declared_base="sha256:1")] == [
        ("base_mismatch", None),
        ("feature_unsupported", None),
        ("feature_unsupported", None),
        ("shape_mismatch", a_name(Q0)),
        ("not_finite", b_name(Q0)),
    ]


def test_an_adapter_of_another_model_gets_a_bounded_list_of_reasons(tmp_path: Path) -> None:
    renamed = {name.replace("layers.", "layers.7"): item for name, item in lora_tensors().items()}
    findings = refusal(write_adapter(tmp_path, tensors=renamed))
    assert len(findings) == MAX_FINDINGS
    assert {finding.code for finding in findings} == {"layer_beyond_base"}


def test_a_finding_says_what_was_found_and_what_was_expected(tmp_path: Path) -> None:
    (finding,) = refusal(write_adapter(tmp_path, tensors=lora_tensors() | {a_name(Q0): tensor(4, 8)}))
    assert str(finding) == (
        f"[shape_mismatch] {WEIGHTS_FILE}: {a_name(Q0)}: found [4, 8]; expected [4, 16] for rank 4 on {Q0}"
    )


def test_a_strangers_long_text_is_clipped(tmp_path: Path) -> None:
    (finding,) = refusal(write_adapter(tmp_path, {"peft_type": "x" * 10_000}))
    assert len(finding.found) <= 120
