"""`switchyard adapters prove` on a tiny random model: an import gets the proof that an engine can be held to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.adapters.effect_proof import read_proof
from registry.names import parse_ref
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.cli_runner import Run, run
from tests.support.peft_adapter import write_peft_adapter
from trainer.data.faults import DataError
from trainer.data.rows import Example, Message
from trainer.errors import BaseModelError
from trainer.prove import Proving, encode_texts, prove, read_texts

__all__ = ["run"]
pytestmark = pytest.mark.training


@pytest.fixture
def registry(base: Path, tmp_path: Path) -> Iterator[Registry]:
    """Tenant acme with an adapter that has an effect, acme/strong@1.0, and one that has none, acme/weak@1.0."""
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        registry.bases.register("tiny", base)
        registry.tenants.create("acme")
        for name, strength in (("strong", 0.1), ("weak", 1e-6)):
            folder = write_peft_adapter(base, tmp_path / name, strength)
            registry.adapters.publish(tenant="acme", adapter=name, folder=folder, base="tiny", lineage={})
        yield registry


def test_an_import_is_proven_on_general_texts(registry: Registry, base: Path) -> None:
    from peft import PeftModel

    from trainer.forward import token_logprobs
    from trainer.methods.loading import load_base

    said: list[str] = []
    version = prove(Proving(parse_ref("acme/strong@1.0"), base), registry, said.append)
    assert version.proof is not None
    assert version.proof.largest_effect > 0.1
    folder = registry.version_files.materialise(version.manifest_digest)
    proof = read_proof(folder)
    assert proof is not None
    assert len(proof.probes) == 6
    assert "measuring acme/strong@1.0 on 12 texts" in said
    model = PeftModel.from_pretrained(load_base(base).model, folder)
    for probe in proof.probes:
        (served,) = token_logprobs(model, [probe.token_ids])
        assert [served[place - 1] for place in probe.positions] == pytest.approx(probe.adapter_logprobs, abs=1e-3)


def test_an_adapter_that_does_nothing_is_marked_and_its_promote_refused(
    registry: Registry, base: Path, run: Run
) -> None:
    done = run("adapters", "prove", "acme/weak@1.0", "--base", base, "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out.splitlines()[-1])["indistinguishable"] is True
    assert "indistinguishable" in run("adapters", "list").out
    refused = run("adapters", "promote", "acme/weak@1.0")
    assert refused.status == 1
    assert "indistinguishable from its base" in refused.err
    allowed = run("adapters", "promote", "acme/weak@1.0", "--allow-indistinguishable", "--json")
    assert allowed.document["detail"]["allowed_indistinguishable"] is True


def test_texts_of_the_adapters_own_task_are_used_when_they_are_given(
    registry: Registry, base: Path, tmp_path: Path
) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"prompt": "left", "completion": " A"}\n{"prompt": "right", "completion": " B"}\n')
    version = prove(Proving(parse_ref("acme/strong@1.0"), base, file), registry)
    proof = read_proof(registry.version_files.materialise(version.manifest_digest))
    assert proof is not None
    assert len(proof.probes) == 2


def test_a_base_is_looked_for_among_the_prepared_ones_and_a_wrong_one_refused(
    registry: Registry, base: Path, tmp_path: Path
) -> None:
    asked = parse_ref("acme/strong@1.0")
    (tmp_path / "state" / "base-digests.json").unlink()  # where the registry remembers folders
    with pytest.raises(BaseModelError, match="give it with --base FOLDER"):
        prove(Proving(asked), registry)
    other = tmp_path / "other"
    other.mkdir()
    for file in base.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    with pytest.raises(BaseModelError, match="does not hold 'tiny'"):
        prove(Proving(asked, other), registry)
    (tmp_path / "state" / "base").mkdir()
    (tmp_path / "state" / "base" / "prepared").symlink_to(base)
    assert prove(Proving(asked), registry).proof is not None


def test_a_name_without_a_version_is_refused_before_anything_is_loaded(run: Run) -> None:
    refused = run("adapters", "prove", "acme/strong")
    assert refused.status == 1
    assert "names no version; write acme/strong@1.0" in refused.err


def test_texts_may_be_chats_examples_or_plain(tmp_path: Path, base: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "plain"}\n\n{"text": "plain"}\n')
    assert read_texts(file) == ["plain", "plain"]
    assert len(encode_texts(tokenizer, read_texts(file))) == 1
    file.write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n')
    assert read_texts(file) == [Example(1, (Message("user", "a"),), "b")]
    (ids,) = encode_texts(tokenizer, read_texts(file))
    assert tokenizer.decode(ids) == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb"
    file.write_text('{"text": "fine"}\n{"text": 1}\nnonsense\n')
    with pytest.raises(DataError, match=r"line 2: \[no_text\](?s:.*)line 3: \[bad_json\]"):
        read_texts(file)
