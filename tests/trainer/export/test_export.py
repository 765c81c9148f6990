"""`switchyard adapters export`: what is written says what the adapter on its base says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.names import parse_ref
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.cli_runner import Run, done, run
from tests.support.peft_adapter import write_peft_adapter
from trainer.errors import BaseModelError, TrainerError
from trainer.export.checking import compare
from trainer.export.exporting import Asked, Exported, export
from trainer.export.gguf_tokenizer import LLAMA_3, split_name
from trainer.forward import token_logprobs

__all__ = ["done", "run"]
pytestmark = pytest.mark.training
REF = parse_ref("acme/strong@1.0")


@pytest.fixture(scope="module")
def base(base: Path) -> Path:
    """With a merge in its tokenizer: GGUF has no list that is empty."""
    file = base / "tokenizer.json"
    document = json.loads(file.read_text())
    vocab = document["model"]["vocab"]
    vocab["th"] = vocab.pop(max(vocab, key=vocab.__getitem__))
    document["model"]["merges"] = [["t", "h"]]
    file.write_text(json.dumps(document))
    return base


@pytest.fixture(scope="module")
def registry(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """With acme/strong@1.0, which changes much."""
    state = tmp_path_factory.mktemp("export")
    with Registry.open(RegistrySettings(state_dir=state / "state")) as registry:
        registry.bases.register("tiny", base)
        registry.tenants.create("acme")
        folder = write_peft_adapter(base, state / "strong", 0.1)
        registry.adapters.publish(tenant="acme", adapter="strong", folder=folder, base="tiny", lineage={"source": "x"})
        yield registry


def meant(registry: Registry, base: Path, text: str) -> list[float]:
    """What the adapter on its base says of a text."""
    from peft import PeftModel

    from trainer.methods.loading import load_base

    loaded = load_base(base)
    folder = registry.version_files.materialise(registry.adapters.get(REF).manifest_digest)
    model = PeftModel.from_pretrained(loaded.model, folder).eval()
    return token_logprobs(model, [loaded.tokenizer(text)["input_ids"]])[0]


def exported(registry: Registry, out: Path, **asked: object) -> Exported:
    return export(Asked(REF, out=out, **asked), registry)  # type: ignore[arg-type]


def test_the_peft_folder_is_the_published_bytes_with_where_they_came_from(registry: Registry, tmp_path: Path) -> None:
    exported(registry, tmp_path / "out", form="peft")
    folder = registry.version_files.materialise(registry.adapters.get(REF).manifest_digest)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors", "provenance.json"}
    for name in names - {"provenance.json"}:
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert (provenance["version"], provenance["base"]["name"]) == ("acme/strong@1.0", "tiny")
    assert provenance["lineage"] == {"source": "x"}


def test_the_merged_model_answers_as_the_adapter_on_its_base(registry: Registry, base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    outcome = exported(registry, tmp_path / "out", form="merged", base=base, type="float32")
    assert outcome.check is not None
    assert outcome.check.texts >= 4
    assert outcome.check.largest_difference_nats < 1e-3
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    said = token_logprobs(model, [tokenizer("a text of its own")["input_ids"]])[0]
    assert said == pytest.approx(meant(registry, base, "a text of its own"), abs=1e-3)
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert not list((tmp_path / "out").glob("adapter_*"))


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8_0"])
def test_the_gguf_file_reads_back_as_the_adapter_on_its_base(
    registry: Registry, base: Path, tmp_path: Path, kind: str
) -> None:
    outcome = exported(registry, tmp_path / "out", form="gguf", base=base, type=kind)
    assert outcome.files == (f"acme-strong-1.0-{kind}.gguf", "provenance.json")
    assert outcome.check is not None
    assert outcome.check.mean_difference_nats <= {"f32": 1e-4, "f16": 0.005, "bf16": 0.05, "q8_0": 0.1}[kind]


def test_a_gguf_file_holds_shapes_tokens_and_the_chat_template(registry: Registry, base: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader

    exported(registry, tmp_path / "out", form="gguf", base=base)
    reader = GGUFReader(next((tmp_path / "out").glob("*.gguf")))
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert (fields["general.architecture"], fields["llama.block_count"], fields["llama.attention.head_count_kv"]) == (
        "llama", 2, 2,
    )  # fmt: skip
    assert fields["tokenizer.ggml.pre"] == "gpt-2"
    assert len(fields["tokenizer.ggml.tokens"]) == fields["llama.vocab_size"]
    assert fields["tokenizer.chat_template"] == (base / "chat_template.jinja").read_text()
    assert "blk.1.attn_q.weight" in {tensor.name for tensor in reader.tensors}


def test_what_is_read_back_otherwise_is_an_error(base: Path) -> None:
    from trainer.methods.loading import load_base

    with pytest.raises(TrainerError, match=r"differ by \d+\.\d+ nats in the mean and 9\d\.\d+ at most"):
        compare([[-100.0, -1.0]], load_base(base).model, [(1, 2, 3)], "float32")


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ({"form": "merged", "type": "f16"}, "type is 'f16', and --as merged has one of bfloat16, float32"),
        ({"form": "peft", "type": "f16"}, "has none: the adapter's bytes are copied"),
    ],
)
def test_a_type_that_the_form_has_not_is_refused(
    registry: Registry, base: Path, tmp_path: Path, asked: dict[str, object], fault: str
) -> None:
    with pytest.raises(TrainerError, match=fault):
        exported(registry, tmp_path / "out", base=base, **asked)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(TrainerError, match="is there already"):
        exported(registry, tmp_path, form="peft")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert exported(registry, tmp_path / "empty", form="peft").files


def test_without_its_base_a_version_is_not_merged(registry: Registry, base: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(base, other)
    (other / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(BaseModelError, match="does not hold 'tiny'"):
        exported(registry, tmp_path / "out", form="merged", base=other)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"model_type": "qwen2"}, "the base is a 'qwen2'; export --as merged"),
        ({"mlp_bias": True}, "without biases"),
        (
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            "scales positions by 'linear'",
        ),
    ],
)
def test_a_model_of_another_kind_is_refused_for_gguf_before_it_is_merged(
    base: Path, tmp_path: Path, change: dict[str, object], fault: str
) -> None:
    from trainer.export.gguf_file import check_architecture

    config = json.loads((base / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(TrainerError, match=fault):
        check_architecture(tmp_path)


def test_a_tokenizer_of_another_kind_is_refused_for_gguf_before_anything_is_merged(base: Path, tmp_path: Path) -> None:
    from trainer.export.gguf_tokenizer import check_tokenizer

    document = json.loads((base / "tokenizer.json").read_text())
    document["model"]["byte_fallback"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(TrainerError, match="byte-level BPE tokenizers with merges only"):
        check_tokenizer(tmp_path)


def test_ways_to_split_text_that_llama_cpp_knows_have_its_names_and_others_are_refused() -> None:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}

    def split(pattern: str) -> dict[str, object]:
        steps = [{"type": "Split", "pattern": {"Regex": pattern}}, {**byte_level, "use_regex": False}]
        return {"type": "Sequence", "pretokenizers": steps}

    digits = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]}
    assert [split_name(one) for one in (byte_level, digits, split(LLAMA_3), split(LLAMA_3.replace("{1,3}", "")))] == [
        "gpt-2", "smollm", "llama-bpe", "qwen2",
    ]  # fmt: skip
    for other in (split(r"\w+"), {"type": "Metaspace"}, {}):
        with pytest.raises(TrainerError, match="has no name here"):
            split_name(other)


def test_the_command_says_what_it_wrote_and_what_it_compared(done: Run, base: Path, tmp_path: Path) -> None:
    done("base", "register", "tiny", base)
    done("tenants", "create", "acme")
    done("adapters", "publish", "acme/strong", write_peft_adapter(base, tmp_path / "strong", 0.1), "--base", "tiny")
    text = done("adapters", "export", "acme/strong@1.0", "--as", "gguf", "--out", tmp_path / "out").out
    assert "acme/strong@1.0 is in" in text
    assert "log-probabilities differ by" in text
