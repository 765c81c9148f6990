"""A base's fingerprint as the trainer takes it: the model's own numbers, once, and no error where there can be none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from registry.bases.fingerprint import read_fingerprint
from registry.service import Registry
from switchyard.commands.base import base as base_command
from trainer.fingerprint import ensure_fingerprint

pytestmark = pytest.mark.training
VOCAB = 258


def test_preparing_a_base_takes_its_fingerprint_once(base: Path) -> None:
    said: list[str] = []
    assert ensure_fingerprint(base, said.append)
    before = (base / "fingerprint.json").stat().st_mtime_ns
    assert ensure_fingerprint(base, said.append)
    assert said == ["taking the base model's fingerprint"]
    assert (base / "fingerprint.json").stat().st_mtime_ns == before


def test_it_holds_the_models_own_log_probabilities(base: Path) -> None:
    from trainer.forward import token_logprobs
    from trainer.methods.loading import load_base

    ensure_fingerprint(base)
    fingerprint = read_fingerprint(base, VOCAB)
    assert fingerprint is not None
    assert len(fingerprint.questions()) == 16
    model = load_base(base).model
    for question in fingerprint.questions():
        ((*_, last),) = token_logprobs(model, [[*question.prefix, question.token]])
        assert question.logprob == pytest.approx(last, abs=1e-3)


def test_a_base_that_cannot_be_loaded_is_no_error_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    said: list[str] = []
    assert not ensure_fingerprint(tmp_path, said.append)
    assert "no fingerprint" in said[-1]
    assert "could not be measured" in said[-1]


def test_a_registered_base_gets_its_fingerprint_later(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(tmp_path))
    (base / "fingerprint.json").unlink(missing_ok=True)
    with Registry.open() as registry:
        assert registry.bases.register("tiny", base).fingerprint is None
    done = CliRunner().invoke(base_command, ["fingerprint", "tiny", str(base), "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["questions"] == 16
    with Registry.open() as registry:
        assert registry.bases.get("tiny").fingerprint == read_fingerprint(base, VOCAB)


def test_it_holds_what_the_bases_own_chat_template_makes_of_conversations(base: Path) -> None:
    from transformers import AutoTokenizer

    ensure_fingerprint(base)
    fingerprint = read_fingerprint(base, VOCAB)
    assert fingerprint is not None
    assert fingerprint.renderings
    tokenizer = AutoTokenizer.from_pretrained(base)
    for rendering in fingerprint.renderings:
        conversation = rendering.conversation
        ids = tokenizer.apply_chat_template(
            conversation.messages(), add_generation_prompt=conversation.generates, return_dict=False
        )
        assert rendering.token_ids == tuple(ids)


def test_a_fingerprint_without_renderings_gets_them_and_keeps_its_numbers(base: Path) -> None:
    ensure_fingerprint(base)
    whole = json.loads((base / "fingerprint.json").read_bytes())
    (base / "fingerprint.json").write_text(json.dumps({key: whole[key] for key in ("format", "probes")}))
    said: list[str] = []
    assert ensure_fingerprint(base, said.append)
    assert said == ["taking down how its chat template renders"]
    assert json.loads((base / "fingerprint.json").read_bytes()) == whole
