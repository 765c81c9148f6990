"""docs/recipe.md is what the trainer does: its tables are the models', its examples are read."""

from __future__ import annotations

import re
from pathlib import Path

from trainer.data.sets import read_sets
from trainer.recipe import read_recipe
from trainer.reference import recipe_tables

PAGE = (Path(__file__).parents[2] / "docs" / "recipe.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_key_is_in_the_reference_with_default_unit_and_meaning() -> None:
    assert PAGE.endswith(f"## Every key\n\n{recipe_tables()}"), (
        "put what `python -m switchyard.recipe_reference` prints there"
    )


def test_the_recipe_and_the_rows_of_the_page_are_read(tmp_path: Path) -> None:
    (recipe,) = blocks("toml")
    chat, completion = blocks("json")
    (tmp_path / "train.jsonl").write_text(chat + chat.replace("search", "sign-in"))
    (tmp_path / "recipe.toml").write_text(recipe)
    sets = read_sets(read_recipe(tmp_path / "recipe.toml"))
    assert (sets.train.rows, sets.heldout.rows) == (1, 1)
    (tmp_path / "train.jsonl").write_text(completion + completion.replace("broke", "works"))
    (tmp_path / "recipe.toml").write_text(recipe.replace('"chat"', '"completion"'))
    assert read_sets(read_recipe(tmp_path / "recipe.toml")).train.examples[0].completion == " heron"


def test_every_option_of_the_pages_commands_exists() -> None:
    from typer.main import get_command

    from switchyard.commands.train import train

    known = {option for parameter in get_command(train).params for option in parameter.opts}
    (commands,) = blocks("sh")
    assert set(re.findall(r"--[a-z-]+", commands)) <= known
