"""The whole of `switchyard train` on a tiny random model, into a real registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from registry.errors import NotFound
from registry.names import parse_ref
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.tiny_recipe import tiny_recipe
from trainer.data.encode import Rules, encode_all
from trainer.data.read import read_data
from trainer.errors import RecipeError, TrainingRefused
from trainer.methods.loading import load_tokenizer
from trainer.pipeline import Outcome, Plan, run
from trainer.watch import Level, StepMetrics, Unwatched

pytestmark = pytest.mark.training


class Recorder(Unwatched):
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.steps: list[tuple[int, int]] = []
        self.losses: list[float] = []
        self.warnings: list[str] = []

    def say(self, message: str, *, level: Level = "info", data: Mapping[str, Any] | None = None) -> None:
        if level == "warn":
            self.warnings.append(message)

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def metrics(self, measured: StepMetrics) -> None:
        if measured.train_loss is not None:
            self.steps.append((measured.step, measured.total_steps))
            self.losses.append(measured.train_loss)


def write_rows(path: Path, words: list[str]) -> None:
    rows = [
        {"messages": [{"role": "user", "content": word}, {"role": "assistant", "content": "A" if i % 2 else "B"}]}
        for i, word in enumerate(words)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_recipe(folder: Path, *, steps: int = 30, rate: float = 1e-2, rank: int = 4) -> Path:
    write_rows(folder / "train.jsonl", ["left", "right"] * 8)
    write_rows(folder / "heldout.jsonl", ["left!", "right!", "left?", "right?"])
    recipe = folder / "recipe.toml"
    text = tiny_recipe(steps=steps, rate=rate, rank=rank, max_length_tokens=64, evaluation="max_new_tokens = 3")
    recipe.write_text(text)
    return recipe


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> RegistrySettings:
    settings = RegistrySettings(state_dir=tmp_path_factory.mktemp("state"))
    with Registry.open(settings) as registry:
        registry.tenants.create("acme")
    return settings


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, base: Path, state: RegistrySettings
) -> tuple[Outcome, Recorder, Path]:
    recipe, recorder = write_recipe(tmp_path_factory.mktemp("recipe")), Recorder()
    return run(Plan(recipe, str(base)), recorder, state), recorder, recipe


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def test_training_learns_the_task_and_says_how_far_it_is(trained: tuple[Outcome, Recorder, Path]) -> None:
    outcome, recorder, _ = trained
    assert recorder.steps == [(step, 30) for step in range(1, 31)]
    assert recorder.losses[-1] < 0.5 < recorder.losses[0]
    assert outcome.evaluation.adapter.loss < outcome.evaluation.base.loss
    before, after = outcome.evaluation.base.score, outcome.evaluation.adapter.score
    assert before is not None
    assert after is not None
    assert after.correct > before.correct == 0
    assert outcome.trained.trained_tokens > 30 * 8 * 20


def test_the_folder_holds_config_weights_and_proof_and_no_path(trained: tuple[Outcome, Recorder, Path]) -> None:
    folder = trained[0].folder
    made = {"adapter_config.json", "adapter_model.safetensors", "effect_proof.json", "training.json"}
    assert {path.name for path in folder.iterdir()} == made | {"training_rows.bin"}
    config = read_json(folder / "adapter_config.json")
    assert config["base_model_name_or_path"] == "tiny-llama"
    assert config["target_modules"] == sorted(config["target_modules"])
    assert (config["r"], config["bias"], config["inference_mode"]) == (4, "none", True)


def test_weights_are_saved_as_bfloat16(trained: tuple[Outcome, Recorder, Path]) -> None:
    from safetensors import safe_open

    with safe_open(trained[0].folder / "adapter_model.safetensors", framework="pt") as weights:
        names = list(weights.keys())
        assert {weights.get_slice(name).get_dtype() for name in names} == {"BF16"}
    assert len(names) == 2 * 2 * 7  # A and B, two layers, seven linears each


def test_the_proof_holds_for_the_saved_adapter(trained: tuple[Outcome, Recorder, Path], base: Path) -> None:
    from peft import PeftModel

    from trainer.forward import token_logprobs
    from trainer.methods.loading import load_base

    folder = trained[0].folder
    proof = read_json(folder / "effect_proof.json")
    assert proof["format"] == 1
    assert len(proof["probes"]) == 6
    plain = load_base(base).model
    texts = [probe["token_ids"] for probe in proof["probes"]]
    without = token_logprobs(plain, texts)
    served = token_logprobs(PeftModel.from_pretrained(plain, folder), texts)
    for probe, off, on in zip(proof["probes"], without, served, strict=True):
        assert 1 <= len(probe["positions"]) <= 12
        assert [off[position - 1] for position in probe["positions"]] == pytest.approx(probe["base_logprobs"], abs=1e-3)
        assert [on[position - 1] for position in probe["positions"]] == pytest.approx(
            probe["adapter_logprobs"], abs=1e-3
        )
    differences = [
        abs(a - b)
        for probe in proof["probes"]
        for a, b in zip(probe["adapter_logprobs"], probe["base_logprobs"], strict=True)
    ]
    assert max(differences) > 5 * proof["noise"]


def test_the_version_is_published_with_its_lineage(
    trained: tuple[Outcome, Recorder, Path], state: RegistrySettings
) -> None:
    outcome = trained[0]
    assert outcome.version == "acme/tiny@1.0"
    with Registry.open(state) as registry:
        version = registry.adapters.get(parse_ref("acme/tiny@1.0"))
        assert registry.bases.get("tiny-llama").digest == version.base_digest
    assert version.lineage["recipe_sha256"] == outcome.recipe.digest
    assert version.lineage["train_rows"] == 16
    assert version.lineage["evaluation"]["adapter"]["score"]["total"] == 4
    assert version.lineage["base_digest"] == version.base_digest
    assert json.loads(json.dumps(outcome.document()))["manifest_digest"] == version.manifest_digest


def test_training_again_from_the_same_ingredients_gives_the_same_version(
    trained: tuple[Outcome, Recorder, Path], base: Path, state: RegistrySettings, tmp_path: Path
) -> None:
    again = run(Plan(trained[2], str(base), out=tmp_path / "again"), Recorder(), state)
    assert again.manifest_digest == trained[0].manifest_digest
    assert (again.version, again.created) == ("acme/tiny@1.0", False)


def test_a_version_that_training_goes_on_from_gives_the_next_one(
    trained: tuple[Outcome, Recorder, Path], base: Path, state: RegistrySettings, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, steps=4)
    begun = '[model]\ncontinue_from = "acme/tiny@1.0"\n'
    recipe.write_text(begun + recipe.read_text().replace("[lora]\nr = 4\n", ""))
    recorder = Recorder()
    outcome = run(Plan(recipe, str(base), out=tmp_path / "out"), recorder, state)
    assert outcome.version == "acme/tiny@1.1"
    assert recorder.losses[0] < 0.5
    for wrong, says in {"acme/tiny": "give a version of the tenant", "other/tiny@1.0": "give a version of"}.items():
        recipe.write_text(recipe.read_text().replace(begun, f'[model]\ncontinue_from = "{wrong}"\n'))
        with pytest.raises(RecipeError, match=says):
            run(Plan(recipe, str(base), out=tmp_path / "out"), recorder, state)
        begun = f'[model]\ncontinue_from = "{wrong}"\n'


def test_preferences_are_learnt_and_the_version_says_what_was(
    base: Path, state: RegistrySettings, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, steps=8)
    text = recipe.read_text().replace('name = "tiny"', 'name = "polite"').replace('format = "chat"', 'format = "auto"')
    recipe.write_text(text.replace("[training]", '[training]\nmethod = "dpo"'))
    with pytest.raises(RecipeError, match=r"needs preferences in both sets, and the rows are of form \"chat\""):
        run(Plan(recipe, str(base), out=tmp_path / "out"), Recorder(), state)
    for name, words in {"train": ["left", "right"] * 8, "heldout": ["left!", "right!", "left?", "right?"]}.items():
        pairs = [{"prompt": word, "chosen": "A", "rejected": "no idea"} for word in words]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    recorder = Recorder()
    outcome = run(Plan(recipe, str(base), out=tmp_path / "out"), recorder, state)
    assert outcome.version == "acme/polite@1.0"
    assert recorder.losses[-1] < 0.5 < recorder.losses[0] < 0.7
    with Registry.open(state) as registry:
        receipt = registry.adapters.get(parse_ref("acme/polite@1.0")).lineage["masking_receipt"]
    assert (receipt["rows"], receipt["fewest_learnt"]) == (2 * 16, 2)


@pytest.mark.parametrize(("tuning", "says"), [("full", "start an engine with its folder"), ("ia3", "cannot be")])
def test_what_vllm_does_not_serve_is_evaluated_and_kept_and_not_published(
    base: Path, state: RegistrySettings, tmp_path: Path, tuning: str, says: str
) -> None:
    recipe, recorder = write_recipe(tmp_path, steps=4, rate=1e-1), Recorder()
    recipe.write_text(f'[model]\ntuning = "{tuning}"\n' + recipe.read_text().replace("[lora]\nr = 4\n", ""))
    outcome = run(Plan(recipe, str(base), out=tmp_path / "out"), recorder, state)
    assert says in " ".join(recorder.warnings)
    assert outcome.version is None
    assert outcome.evaluation.adapter.loss != outcome.evaluation.base.loss
    assert (outcome.largest_effect is None) is (tuning == "full")
    taken_up = run(Plan(recipe, str(base), trained=tmp_path / "out"), recorder, state)
    assert taken_up.evaluation.adapter == outcome.evaluation.adapter


@pytest.mark.parametrize(
    ("steps", "rate", "says"),
    [
        (1, 1e-2, "left every weight as it was"),  # the only step is warm-up's first, at rate zero
        (4, 1e-9, "indistinguishable from the base"),
    ],
)
def test_an_adapter_without_effect_is_refused_and_only_one_that_was_trained_is_kept(
    base: Path, state: RegistrySettings, tmp_path: Path, steps: int, rate: float, says: str
) -> None:
    recipe = write_recipe(tmp_path, steps=steps, rate=rate)
    with pytest.raises(TrainingRefused, match=says) as refused:
        run(Plan(recipe, str(base), out=tmp_path / "out", publish=False), Recorder(), state)
    kept = f"adapters import {tmp_path / 'out'} --to acme/tiny --base BASE"
    assert (tmp_path / "out" / "adapter_model.safetensors").exists() is (kept in str(refused.value)) is (steps > 1)
    assert not (tmp_path / "out" / "effect_proof.json").exists()


def test_ten_rows_without_a_metric_are_enough_and_measured_by_their_loss(
    base: Path, state: RegistrySettings, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, steps=6)
    write_rows(tmp_path / "train.jsonl", [f"word {number}" for number in range(10)])
    text = recipe.read_text().partition("[evaluation]")[0].replace('heldout = "heldout.jsonl"\n', "")
    recipe.write_text(text)
    outcome = run(Plan(recipe, str(base), out=tmp_path / "out", publish=False), Recorder(), state)
    found = outcome.evaluation
    assert (found.metric, found.base.score, found.adapter.score, found.wrong) == (None, None, None, ())
    assert (outcome.data.train_rows, outcome.data.heldout_rows) == (8, 2)
    assert found.adapter.loss < found.base.loss
    assert found.is_better


SCRIPTS = {
    "北京的天气怎么样?": "晴天",
    "東京はどこですか。": "日本です",
    "ما هي عاصمة مصر؟": "القاهرة",
    "מה בירת ישראל?": "ירושלים",
    "भारत की राजधानी क्या है?": "नई दिल्ली",
    "ประเทศไทยอยู่ที่ไหน": "เอเชีย",
    "What is 👩‍👩‍👧?": "a family 👨‍👩‍👦",
    "Où est l'été ?": "là-bas, cafe\u0301",
}


def test_rows_of_any_script_and_direction_train_like_others(
    base: Path, state: RegistrySettings, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path, steps=8)
    recipe.write_text(recipe.read_text().replace("= 64", "= 256"))
    rows = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
        for asked, said in SCRIPTS.items()
    ]
    for name, part in (("train", rows[:5]), ("heldout", rows[5:])):
        lines = [json.dumps(row, ensure_ascii=False) for row in part]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
    tokenizer = load_tokenizer(base)
    encoded = encode_all(tokenizer, read_data(tmp_path / "train.jsonl", "auto").examples, file="f", rules=Rules(256))
    assert [tokenizer.decode(row.completion_ids, skip_special_tokens=True) for row in encoded] == list(
        SCRIPTS.values()
    )[:5]
    found = run(Plan(recipe, str(base), out=tmp_path / "out", publish=False), Recorder(), state).evaluation
    assert found.adapter.loss < found.base.loss


def test_a_missing_tenant_stops_the_run_before_the_training(base: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    with pytest.raises(NotFound, match="switchyard tenants create acme"):
        run(Plan(write_recipe(tmp_path), str(base)), recorder, RegistrySettings(state_dir=tmp_path / "state"))
    assert recorder.steps == []


def test_a_rank_that_no_engine_holds_stops_the_run_before_the_training(
    base: Path, state: RegistrySettings, tmp_path: Path
) -> None:
    recipe, recorder = write_recipe(tmp_path, rank=32), Recorder()
    with pytest.raises(RecipeError, match=r"lora\.r = 32 is more than the engines hold \(16\)"):
        run(Plan(recipe, str(base)), recorder, state)
    assert recorder.steps == []
