"""`switchyard adapters diff` of two versions that were trained here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from registry.adapters.comparing import compare_versions
from registry.adapters.training_rows import TRAINING_ROWS_FILE
from registry.names import parse_ref
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.cli_runner import Run, done, run
from tests.support.peft_adapter import write_peft_adapter
from tests.support.tiny_recipe import tiny_recipe
from trainer.data.read import read_data
from trainer.pipeline import Plan
from trainer.pipeline import run as train
from trainer.row_keys import row_keys, write_row_keys
from trainer.watch import Unwatched

__all__ = ["done", "run"]
pytestmark = pytest.mark.training


def write_rows(path: Path, pairs: list[tuple[str, str]]) -> None:
    rows = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}
        for asked, answer in pairs
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


FIRST = [(f"q{number}", "A" if number % 2 else "B") for number in range(20)]
SECOND = [("q0", "A"), *FIRST[2:], ("new", "A")]


@pytest.fixture(scope="module")
def registry(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """acme/tiny@1.0, which is trained here; @1.1 as if it were, of other rows and one step more; and
    acme/foreign@1.0, which was trained elsewhere.
    """
    folder = tmp_path_factory.mktemp("diff")
    settings = RegistrySettings(state_dir=folder / "state")
    with Registry.open(settings) as registry:
        registry.bases.register("tiny", base)
        registry.tenants.create("acme")
        write_rows(folder / "heldout.jsonl", [(f"h{number}", "A") for number in range(6)])
        write_rows(folder / "train.jsonl", FIRST)
        text = tiny_recipe(steps=3).replace('metric = "label_exact"', "")
        (folder / "RECIPE.toml").write_text(text)
        outcome = train(Plan(folder / "RECIPE.toml", str(base)), Unwatched(), settings)
        write_rows(folder / "train.jsonl", SECOND)
        write_row_keys("acme", read_data(folder / "train.jsonl", "auto"), outcome.folder)
        lineage = {
            **registry.adapters.get(parse_ref("acme/tiny@1.0")).lineage,
            "recipe": text.replace("max_steps = 3", "max_steps = 4"),
            "steps": 4,
        }
        registry.adapters.publish(tenant="acme", adapter="tiny", folder=outcome.folder, base="tiny", lineage=lineage)
        foreign = write_peft_adapter(base, folder / "foreign", 0.1)
        registry.adapters.publish(tenant="acme", adapter="foreign", folder=foreign, base="tiny", lineage={})
        yield registry


def test_rows_recipe_shape_and_measurements_that_changed_are_told(registry: Registry) -> None:
    older, newer = (registry.adapters.get(parse_ref(f"acme/tiny@{number}")) for number in ("1.0", "1.1"))
    found = compare_versions(older, newer, registry.version_files)
    assert found.rows is not None
    assert (found.rows.added, found.rows.removed, found.rows.changed, found.rows.kept) == ((20,), (2,), (1,), 18)
    assert {"-max_steps = 3", "+max_steps = 4"} <= set(found.recipe)
    assert (found.base, found.heldout_changed, found.libraries) == (None, False, {})
    assert (found.metrics["steps"].older, found.metrics["steps"].newer) == (3, 4)
    json.dumps(found.document())


def test_a_version_against_itself_has_no_changes(registry: Registry) -> None:
    version = registry.adapters.get(parse_ref("acme/tiny@1.0"))
    found = compare_versions(version, version, registry.version_files)
    assert found.rows is not None
    assert (found.rows.added, found.rows.removed, found.recipe, found.facts, found.metrics) == ((), (), (), {}, {})


def test_other_code_another_base_another_rank_and_other_results_are_told(registry: Registry) -> None:
    version = registry.adapters.get(parse_ref("acme/tiny@1.0"))
    lineage = {
        **version.lineage,
        "libraries": {**version.lineage["libraries"], "trl": "9.9"},
        "evaluation": {"a": {"b": 1}},
    }
    other = replace(version, base_digest="sha256:other", lineage=lineage, facts={**version.facts, "rank": 8})
    found = compare_versions(version, other, registry.version_files)
    assert found.base is not None
    assert found.base.newer == "sha256:other"
    assert found.libraries["trl"].newer == "9.9"
    assert (found.facts["rank"].older, found.facts["rank"].newer) == (4, 8)
    assert found.metrics["evaluation.a.b"].newer == 1


def test_rows_of_a_version_that_was_trained_elsewhere_are_unknown_not_unchanged(registry: Registry) -> None:
    older, newer = (
        registry.adapters.get(parse_ref("acme/foreign@1.0")),
        registry.adapters.get(parse_ref("acme/tiny@1.0")),
    )
    found = compare_versions(older, newer, registry.version_files)
    assert found.rows is None
    assert found.why_no_rows is not None
    assert "acme/foreign@1.0 has no keys of its rows" in found.why_no_rows


def test_engines_are_given_no_keys_of_rows(registry: Registry) -> None:
    version = registry.adapters.get(parse_ref("acme/tiny@1.0"))
    assert registry.version_files.training_rows(version.manifest_digest) is not None
    folder = registry.version_files.materialise(version.manifest_digest)
    assert not (folder / TRAINING_ROWS_FILE).exists()


def test_the_command_tells_people_and_scripts(registry: Registry, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(registry.settings.state_dir))
    text = run("adapters", "diff", "acme/tiny@1.0", "acme/tiny@1.1").out
    for words in (
        "1 added, 1 removed, 1 changed, 18 kept",
        "added: lines 20 of acme/tiny@1.1's",
        "+max_steps = 4",
        "steps  3      4      +1",
    ):
        assert words in text
    document = run("adapters", "diff", "acme/tiny@1.0", "acme/tiny@1.1", "--json").document
    assert document["rows"] == {"added": [20], "removed": [2], "changed": [1], "kept": 18}
    assert "there is no acme/tiny@9.0" in run("adapters", "diff", "acme/tiny@1.0", "acme/tiny@9.0").err


def pair(worse: str) -> dict[str, object]:
    answers = {name: [{"role": "assistant", "content": text}] for name, text in (("chosen", "b"), ("rejected", worse))}
    return {"prompt": [{"role": "user", "content": "a"}], **answers}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"prompt": "a", "completion": "b"}, {"completion": "b", "prompt": "a"}, True),
        ({"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "b "}, False),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 1}]},
            True,
        ),
        (pair("c"), pair("d"), False),
    ],
)
def test_a_key_is_of_what_a_row_says_not_of_how_it_is_written(
    tmp_path: Path, one: object, other: object, same: bool
) -> None:
    found = []
    for row in (one, other):
        (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
        found.append(list(row_keys("acme", read_data(tmp_path / "rows.jsonl", "auto"))))
    assert (found[0] == found[1]) is same
