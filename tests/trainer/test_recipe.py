from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from trainer.errors import RecipeError
from trainer.recipe import read_recipe

GOOD = """
[adapter]
tenant = "acme"
name = "triage"
[data]
train = "data/train.jsonl"
heldout = "data/heldout.jsonl"
format = "chat"
[training]
max_steps = 3
[evaluation]
metric = "json_exact"
"""


@pytest.fixture
def write(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for name in ("train", "heldout"):
        (tmp_path / "data" / f"{name}.jsonl").write_text("{}\n")
    return tmp_path / "recipe.toml"


def test_a_good_recipe_is_read_with_paths_relative_to_itself(write: Path) -> None:
    write.write_text(GOOD)
    recipe = read_recipe(write)
    assert recipe.train_file == write.parent / "data" / "train.jsonl"
    assert recipe.digest == hashlib.sha256(GOOD.encode()).hexdigest()
    assert recipe.model.lora.r == 8
    assert recipe.model.training.max_steps == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("max_steps = 3", "max_stps = 3"),
            "training.max_stps = 3 is not a known key; did you mean training.max_steps?",
        ),
        (("max_steps = 3", ""), "give exactly one of max_steps and epochs"),
        (("max_steps = 3", "max_steps = 3\nepochs = 1"), "give exactly one of max_steps and epochs"),
        (("max_steps = 3", "max_steps = -3"), "training.max_steps = -3: input should be greater than or equal to 1"),
        (('tenant = "acme"', 'tenant = "Acme Inc"'), "adapter.tenant = 'Acme Inc'"),
        (('tenant = "acme"', ""), "adapter.tenant is missing; add it"),
        (('metric = "json_exact"', 'metric = "bleu"'), "evaluation.metric = 'bleu'"),
        (("[training]", "[lora]\nr = 513\n[training]"), "lora.r = 513"),
        (
            ("[training]", '[model]\ntuning = "ia3"\n[lora]\nr = 4\n[training]'),
            'model.tuning = "ia3" does not look at it',
        ),
        (("[training]", "[prompt]\nvirtual_tokens = 4\n[training]"), "set model.tuning to prefix or prompt"),
        (("[training]", "[dpo]\nbeta = 0.2\n[training]"), 'training.method = "sft" does not look at it'),
        (
            ("[training]", '[model]\ntuning = "full"\n[training]\nmethod = "dpo"'),
            'needs model.tuning = "lora" or "qlora"',
        ),
        (("[training]", '[training]\nmethod = "dpo"\npacking = true'), "pairs of answers cannot be packed"),
        (("[training]", '[model]\ntuning = "prompt"\n[training]\npacking = true'), "packed rows would see each other"),
        (
            ("[training]", '[model]\ntuning = "prefix"\n[training]\ngradient_checkpointing = true'),
            "activations are not computed again",
        ),
        (
            ("[training]", '[model]\ntuning = "full"\ncontinue_from = "acme/triage@1.0"\n[training]'),
            "go on from a version",
        ),
        (
            ("[training]", '[model]\ncontinue_from = "acme/triage@1.0"\n[lora]\nr = 4\n[training]'),
            "the shape is that of model.continue_from",
        ),
        (("[training]", "[lora]\ntarget_modules = []\n[training]"), "lora.target_modules"),
        (("train.jsonl", "trian.jsonl"), "data.train = "),
        (("heldout.jsonl", "train.jsonl"), "is also data.train"),
        (("[adapter]", "[adapter"), "is not valid TOML"),
        (("max_steps = 3", "max_steps = 1" + "0" * 5000), "cannot be read as TOML"),
        (("max_steps = 3", "max_steps = " + "[" * 5000), "nested without end"),
        (("max_steps = 3", "max_steps = 3\n" + "a." * 3000 + "b = 1"), "training.a = "),
        (("max_steps = 3", f'max_steps = 3\na = "{"x" * 10_000}"'), "training.a = "),
        (("max_steps = 3", "epochs = inf"), "training.epochs = inf"),
        (("max_steps = 3", "max_steps = 3\nlearning_rate = nan"), "training.learning_rate = nan"),
        (("max_steps = 3", "max_steps = 3\nseed = 4294967296"), "training.seed = 4294967296"),
        (("data/train", "data/\\u0000"), "is not a file"),
        (("data/train", "x" * 5000), "is not a file"),
    ],
)
def test_a_bad_recipe_names_file_field_and_value(write: Path, change: tuple[str, str], says: str) -> None:
    write.write_text(GOOD.replace(*change))
    with pytest.raises(RecipeError) as caught:
        read_recipe(write)
    assert says in str(caught.value)
    assert str(write) in str(caught.value)


def test_every_fault_of_a_recipe_is_named_at_once(write: Path) -> None:
    write.write_text(GOOD.replace("max_steps = 3", "max_steps = 0").replace("json_exact", "rouge"))
    with pytest.raises(RecipeError, match=r"training\.max_steps = 0.*\n.*evaluation\.metric = 'rouge'"):
        read_recipe(write)


WRONG = """
[adaptr]
tenant = "Acme"
nam = "triage"
[data]
train = "none.jsonl"
heldout = "data/heldout.jsonl"
heldout_seed = 3
format = "chats"
[lora]
rank = 8
lora_alpha = 0
learning_rate = 3
bias = "none"
[training]
batchsize = 0
"""


def test_names_and_values_and_files_and_rules_are_all_told_in_one_message_with_the_nearest_right_name(
    write: Path,
) -> None:
    write.write_text(WRONG)
    with pytest.raises(RecipeError) as caught:
        read_recipe(write)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{write}: 14 fault(s)"
    assert sorted(line.strip() for line in lines) == [
        "adapter.nam = 'triage' is not a known key; did you mean adapter.name?",
        "adapter.tenant = 'Acme': string should match pattern '^[a-z0-9][a-z0-9-]{0,62}$'",
        "adaptr = {'nam': 'triage', 'tenant': 'Acme'} is not a known section; did you mean adapter?",
        "data.format = 'chats': input should be 'auto', 'chat', 'completion', 'instruction' or 'preference'",
        "data.heldout_seed = 3: heldout_seed holds rows out when heldout is left out; give one of the two",
        f"data.train = 'none.jsonl': '{write.parent / 'none.jsonl'}' is not a file; correct the path",
        "lora.alpha = 0: input should be greater than or equal to 1",
        "lora.bias = 'none' is not a known key; remove it, or use one of r, alpha, rslora, dropout, target_modules",
        "lora.learning_rate = 3 is not a known key; it belongs in [training]",
        "lora.lora_alpha = 0 is not a known key; did you mean lora.alpha?",
        "lora.rank = 8 is not a known key; did you mean lora.r?",
        "training.batch_size = 0: input should be greater than or equal to 1",
        "training.batchsize = 0 is not a known key; did you mean training.batch_size?",
        "training.epochs: give exactly one of max_steps and epochs",
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("training.num_train_epochs", "training.epochs"),
        ("training.lr", "training.learning_rate"),
        ("training.per_device_train_batch_size", "training.batch_size"),
        ("training.max_seq_length", "training.max_length_tokens"),
        ("training.lr_scheduler_type", "training.schedule"),
        ("training.optim", "training.optimizer"),
        ("lora.use_rslora", "lora.rslora"),
        ("lora.lora_r", "lora.r"),
        ("data.held_out_seed", "data.heldout_seed"),
    ],
)
def test_a_key_of_other_trainers_is_answered_with_ours(write: Path, name: str, meant: str) -> None:
    section, key = name.split(".")
    write.write_text(
        GOOD.replace(f"[{section}]", f"[{section}]\n{key} = 1") + f"\n[lora]\n{key} = 1" * (section == "lora")
    )
    with pytest.raises(RecipeError, match=f"{name} = 1 is not a known key; did you mean {meant}\\?"):
        read_recipe(write)


@pytest.mark.parametrize(
    ("method", "tuning", "rate"), [("sft", "lora", 5e-4), ("dpo", "qlora", 1e-5), ("sft", "full", 2e-5)]
)
def test_the_learning_rate_follows_method_and_tuning_where_none_is_given(
    write: Path, method: str, tuning: str, rate: float
) -> None:
    text = GOOD.replace("[training]", f'[model]\ntuning = "{tuning}"\n[training]\nmethod = "{method}"')
    write.write_text(text)
    assert read_recipe(write).model.learning_rate == rate
    write.write_text(text.replace("max_steps = 3", "max_steps = 3\nlearning_rate = 0.25"))
    assert read_recipe(write).model.learning_rate == 0.25


def test_a_missing_recipe_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")


def test_a_recipe_that_is_not_text_says_so(write: Path) -> None:
    write.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not UTF-8"):
        read_recipe(write)


@pytest.mark.parametrize("task", ["triage", "sentiment"])
@pytest.mark.parametrize("name", ["recipe.toml", "smoke.toml"])
def test_the_shipped_recipes_are_valid(task: str, name: str) -> None:
    recipe = read_recipe(Path(__file__).parents[2] / "examples" / task / name)
    assert recipe.model.adapter.name == task
    assert recipe.model.lora.r == 8
