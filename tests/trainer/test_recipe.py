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
        (("max_steps = 3", "max_stps = 3"), "training.max_stps = 3 is not a known key"),
        (("max_steps = 3", ""), "give exactly one of max_steps and epochs"),
        (("max_steps = 3", "max_steps = 3\nepochs = 1"), "give exactly one of max_steps and epochs"),
        (("max_steps = 3", "max_steps = -3"), "training.max_steps = -3: input should be greater than or equal to 1"),
        (('tenant = "acme"', 'tenant = "Acme Inc"'), "adapter.tenant = 'Acme Inc'"),
        (('tenant = "acme"', ""), "adapter.tenant is missing; add it"),
        (('metric = "json_exact"', 'metric = "bleu"'), "evaluation.metric = 'bleu'"),
        (("[training]", "[lora]\nr = 12\n[training]"), "lora.r = 12"),
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
    with pytest.raises(RecipeError, match=r"training\.max_steps = 0.*evaluation\.metric = 'rouge'"):
        read_recipe(write)


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
