"""A base model's digest follows what it computes, not how it was saved."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.bases.model import BaseSpec, describe_base
from registry.errors import InvalidInput
from tests.support.adapter_folders import HIDDEN, LINEARS, VOCAB, Tensor, TinyBase, with_header

Edit = Callable[[TinyBase], object]


@pytest.fixture
def digest(tmp_path: Path) -> str:
    return describe_base(TinyBase().write(tmp_path / "original")).digest


def edited(folder: Path, edit: Edit) -> str:
    base = TinyBase()
    edit(base)
    return describe_base(base.write(folder)).digest


def config(**changes: Any) -> Edit:
    return lambda base: base.config.update(changes)


def without(*keys: str) -> Edit:
    return lambda base: [base.config.pop(key) for key in keys]


def tokenizer_config(**changes: Any) -> Edit:
    return lambda base: base.tokenizer_config.update(changes)


def tokenizer(**changes: Any) -> Edit:
    return lambda base: base.tokenizer.update(changes)


def bpe(vocab: dict[str, int], merges: list[Any]) -> Edit:
    return tokenizer(model={"merges": merges, "vocab": vocab, "type": "BPE"})


def reverse_order(base: TinyBase) -> None:
    base.tensors = dict(reversed(base.tensors.items()))


def add_tied_head(base: TinyBase) -> None:
    base.tensors["lm_head.weight"] = base.tensors["model.embed_tokens.weight"]


def add_derived_buffer(base: TinyBase) -> None:
    base.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = Tensor("F32", (2,), bytes(8))


def flip_one_bit(base: TinyBase) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    item = base.tensors[name]
    base.tensors[name] = Tensor(item.dtype, item.shape, item.data[:-1] + bytes([item.data[-1] ^ 1]))


def rename_a_tensor(base: TinyBase) -> None:
    base.tensors["model.layers.1.mlp.side_proj.weight"] = base.tensors.pop("model.layers.1.mlp.up_proj.weight")


def exchange_two_tensors(base: TinyBase) -> None:
    gate, up = "model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight"
    base.tensors[gate], base.tensors[up] = base.tensors[up], base.tensors[gate]


def read_as_float16(base: TinyBase) -> None:
    base.tensors = {name: Tensor("F16", item.shape, item.data) for name, item in base.tensors.items()}


def untie(base: TinyBase) -> None:
    base.tensors["lm_head.weight"] = Tensor("BF16", (VOCAB, HIDDEN), bytes(2 * VOCAB * HIDDEN))


def write_rope_the_new_way(base: TinyBase) -> None:
    base.config["rope_parameters"] = {"rope_type": "default", "rope_theta": int(base.config.pop("rope_theta"))}


TOOLS = [{"name": "default", "template": "{{ x }}"}, {"name": "tools", "template": "t"}]

SAME: list[tuple[str, Edit]] = [
    ("tensors lie in another order", reverse_order),
    ("the tied head is saved too", add_tied_head),
    ("a derived buffer is saved too", add_derived_buffer),
    ("the library version is another", config(transformers_version="9.9", _name_or_path="elsewhere", use_cache=False)),
    ("rope is written the new way", write_rope_the_new_way),
    ("rope is left to its default", without("rope_theta")),
    ("the head size is written out", config(head_dim=8)),
    ("the tokenizer's last use is noted", tokenizer(truncation={"max_length": 5}, padding={"length": 5})),
    ("merges are written as pairs", bpe({"ab": 2, "b": 1, "a": 0}, [["a", "b"]])),
    ("a special token is an object", tokenizer_config(eos_token={"content": "b", "lstrip": False})),
    ("the template is in a list", tokenizer_config(chat_template=[{"name": "default", "template": "{{ x }}"}])),
    ("the template ends its line", tokenizer_config(chat_template="{{ x }}\r\n")),
]  # fmt: skip

OTHER: list[tuple[str, Edit]] = [
    ("one bit of one weight", flip_one_bit),
    ("a tensor's name", rename_a_tensor),
    ("two tensors are exchanged", exchange_two_tensors),
    ("the dtype of the same bytes", read_as_float16),
    ("an output layer of its own", untie),
    ("the chat template", tokenizer_config(chat_template="{{ y }}")),
    ("a second chat template", tokenizer_config(chat_template=TOOLS)),
    ("the vocabulary", bpe({"a": 1, "b": 0, "ab": 2}, ["a b"])),
    ("the end token", tokenizer_config(eos_token="a")),
    ("the base of the rope", config(rope_theta=500000.0)),
    ("the number of heads", config(num_attention_heads=4)),
    ("the epsilon of the norm", config(rms_norm_eps=1e-6)),
]  # fmt: skip


@pytest.mark.parametrize("edit", [row[1] for row in SAME], ids=[row[0] for row in SAME])
def test_the_digest_stays_when(tmp_path: Path, digest: str, edit: Edit) -> None:
    assert edited(tmp_path / "other", edit) == digest


@pytest.mark.parametrize("edit", [row[1] for row in OTHER], ids=[row[0] for row in OTHER])
def test_the_digest_changes_with(tmp_path: Path, digest: str, edit: Edit) -> None:
    assert edited(tmp_path / "other", edit) != digest


def test_the_digest_stays_when_the_model_is_sharded_otherwise(tmp_path: Path, digest: str) -> None:
    assert describe_base(TinyBase().write_sharded(tmp_path / "three")).digest == digest
    assert describe_base(TinyBase().write_sharded(tmp_path / "five", shards=5)).digest == digest


def test_the_digest_stays_when_metadata_is_added(tmp_path: Path, digest: str) -> None:
    assert describe_base(TinyBase().write(tmp_path / "other", metadata={"format": "pt", "by": "x"})).digest == digest


def test_the_digest_stays_when_the_chat_template_moves_to_its_own_file(tmp_path: Path, digest: str) -> None:
    base = TinyBase()
    template = base.tokenizer_config.pop("chat_template")
    folder = base.write(tmp_path / "other")
    assert describe_base(folder).digest != digest
    (folder / "chat_template.jinja").write_text(template + "\n")
    assert describe_base(folder).digest == digest


def test_the_spec_tells_what_adapters_must_fit(tmp_path: Path) -> None:
    spec = describe_base(TinyBase().write(tmp_path))
    assert spec.linears == LINEARS
    assert spec.embeddings == {"model.embed_tokens": (VOCAB, HIDDEN)}
    assert (spec.architecture, spec.num_layers, spec.vocab_size) == ("LlamaForCausalLM", 2, VOCAB)
    assert (spec.hidden_size, spec.max_position) == (HIDDEN, 64)
    assert spec.chat_template
    assert spec.tied_embeddings


def test_a_spec_survives_json(tmp_path: Path) -> None:
    spec = describe_base(TinyBase().write(tmp_path))
    assert BaseSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_a_base_without_a_chat_template_says_so(tmp_path: Path) -> None:
    base = TinyBase(tokenizer_config={})
    assert not describe_base(base.write(tmp_path)).chat_template


def test_an_untied_base_lists_its_output_layer(tmp_path: Path) -> None:
    base = TinyBase()
    untie(base)
    base.config["tie_word_embeddings"] = False
    spec = describe_base(base.write(tmp_path))
    assert not spec.tied_embeddings
    assert spec.linears["lm_head"] == (VOCAB, HIDDEN)


def test_a_raw_vocabulary_counts_when_there_is_no_tokenizer_json(tmp_path: Path) -> None:
    folder = TinyBase().write(tmp_path)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"one")
    one = describe_base(folder).digest
    (folder / "tokenizer.model").write_bytes(b"two")
    assert describe_base(folder).digest != one


def test_a_known_folder_is_not_read_again(tmp_path: Path) -> None:
    folder, cache = TinyBase().write(tmp_path / "base"), tmp_path / "cache" / "bases.json"
    spec = describe_base(folder, cache)
    document = json.loads(cache.read_text())
    document[str(folder)]["spec"]["architecture"] = "FromTheCache"
    cache.write_text(json.dumps(document))
    assert describe_base(folder, cache).architecture == "FromTheCache"
    (folder / "config.json").touch()
    assert describe_base(folder, cache) == spec


def test_a_weight_that_changes_under_an_old_time_is_read_again(tmp_path: Path) -> None:
    folder, cache = TinyBase().write(tmp_path / "base"), tmp_path / "bases.json"
    before = describe_base(folder, cache).digest
    weights = folder / "model.safetensors"
    old = weights.stat()
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    os.utime(weights, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert describe_base(folder, cache).digest != before


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"x": 3}'])
def test_a_broken_cache_is_written_anew(tmp_path: Path, content: str) -> None:
    folder, cache = TinyBase().write(tmp_path / "base"), tmp_path / "bases.json"
    cache.write_text(content)
    spec = describe_base(folder, cache)
    assert json.loads(cache.read_text())[str(folder)]["spec"]["digest"] == spec.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "bases.json"]


def test_a_damaged_cache_entry_is_computed_anew(tmp_path: Path) -> None:
    folder, cache = TinyBase().write(tmp_path / "base"), tmp_path / "bases.json"
    spec = describe_base(folder, cache)
    document = json.loads(cache.read_text())
    document[str(folder)]["spec"].pop("linears")
    cache.write_text(json.dumps(document))
    assert describe_base(folder, cache) == spec


def both_sets(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model.safetensors"}}')


def only_bin(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def bad_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}')


def overwrite(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def rewrite(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / "config.json").write_text(json.dumps(TinyBase().config | changes))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing; give a folder"),
        (overwrite("config.json", b"{"), "config.json: Expecting property name"),
        (overwrite("config.json", b"[]"), "a JSON list instead of an object"),
        (lambda folder: (folder / "model.safetensors").unlink(), "there are no weights"),
        (only_bin, "pytorch_model.bin is a pickle"),
        (both_sets, "are both there; delete the set"),
        (bad_index, "which is no file there"),
        (overwrite("model.safetensors", with_header(b"{]")), r"model.safetensors is damaged: \[header_not_json\]"),
        (overwrite("model.safetensors", b"\xff" * 20), r"model.safetensors is damaged: \[header_beyond_file\]"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (rewrite(architectures=None), "architectures is None"),
        (rewrite(num_hidden_layers=0), "num_hidden_layers is 0"),
        (rewrite(vocab_size="many"), "vocab_size is 'many'"),
        (rewrite(max_position_embeddings="8k"), "max_position_embeddings is '8k'"),
        (overwrite("chat_template.jinja", b"\xff"), "chat_template.jinja: 'utf-8' codec"),
        (overwrite("tokenizer.json", b"[" * 300_000), "tokenizer.json: maximum recursion depth"),
        (rewrite(quantization_config={"quant_method": "awq"}), "quant_method 'awq'"),
    ],
)
def test_what_is_no_base_model_is_refused_by_file_and_remedy(
    tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    folder = TinyBase().write(tmp_path)
    damage(folder)
    with pytest.raises(InvalidInput, match=said) as refused:
        describe_base(folder)
    assert refused.value.param == "base"
