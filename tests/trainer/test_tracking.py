"""Trackers by name: refused at once where they are missing, and told the course of a training where they are not."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from registry.names import parse_ref
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.live.installation import ROOT
from tests.support.mlflow_server import mlflow_server
from tests.support.on_demand import MLFLOW, TENSORBOARD, WANDB, OnDemand
from tests.support.stack import open_house
from tests.support.tiny_recipe import tiny_recipe
from tests.support.training_jobs import order
from trainer import mlflow_registry
from trainer.errors import RecipeError, TrainerError
from trainer.jobs.recipe_of import recipe_of
from trainer.mlflow_registry import check_registry
from trainer.recipe import Recipe, read_recipe
from trainer.tracking import check_trackers, tracked, trackers

TRAIN = """
import sys
from pathlib import Path
from trainer.pipeline import Plan, run
from trainer.watch import Unwatched
outcome = run(Plan(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), publish=sys.argv[4] == "publish"), Unwatched())
"""
READ_TENSORBOARD = """
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
(folder,) = {file.parent for file in Path(sys.argv[5]).rglob("events.out*")}
found = EventAccumulator(str(folder)); found.Reload()
print([one.step for one in found.Scalars("train/loss")])
"""
READ_MLFLOW = """
import json, mlflow
client = mlflow.MlflowClient()
(experiment,) = [one for one in client.search_experiments() if one.name != "Default"]
(ran,) = client.search_runs([experiment.experiment_id])
steps = [one.step for one in client.get_metric_history(ran.info.run_id, "loss")]
(version,) = client.search_model_versions("name='acme.tiny'")
print(json.dumps([
    experiment.name, ran.info.run_name, ran.info.status, steps, ran.data.params["learning_rate"],
    version.version, version.source, dict(version.tags), outcome.manifest_digest,
]))
"""
READ_WANDB = """
import json, wandb
wandb.teardown()  # it has written all when its own process has ended
from wandb.proto import wandb_internal_pb2
(file,) = Path(sys.argv[5]).rglob("*.wandb")  # pieces of 32 KiB, of records with 7 bytes before each part of one
data, at, whole, steps, run = file.read_bytes(), 7, b"", [], None
while at + 7 <= len(data):
    if 32_768 - at % 32_768 < 7:
        at += 32_768 - at % 32_768
        continue
    length, kind = int.from_bytes(data[at + 4:at + 6], "little"), data[at + 6]
    whole, at = whole + data[at + 7:at + 7 + length], at + 7 + length
    if kind not in (1, 4):
        continue
    record = wandb_internal_pb2.Record()
    record.ParseFromString(whole)
    whole = b""
    if record.WhichOneof("record_type") == "run":
        run = [record.run.entity, record.run.project, record.run.display_name, list(record.run.tags)]
    if record.WhichOneof("record_type") == "history":
        keys = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
        steps += [int(keys["train/global_step"])] if "train/loss" in keys else []
print(json.dumps([run, steps]))
"""


LONGEST_S = 600
"""Libraries of trackers take half a minute to import on a busy machine, and two processes do it."""


def a_recipe(folder: Path, tracking: str) -> Recipe:
    rows = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]}
        for n in range(12)
    ]
    (folder / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows[:8]))
    (folder / "heldout.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows[8:]))
    (folder / "RECIPE.toml").write_text(f"{tiny_recipe(steps=3)}\n[tracking]\n{tracking}\n")
    return read_recipe(folder / "RECIPE.toml")


def test_a_tracker_that_is_not_installed_is_an_error_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(RecipeError, match=r"names 'mlflow', which is not installed here; .*pip install mlflow"):
        check_trackers(a_recipe(tmp_path, 'report_to = ["mlflow"]'))


def test_an_unknown_tracker_is_told_which_ones_there_are(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'wandb', 'mlflow' or 'tensorboard'"):
        a_recipe(tmp_path, 'report_to = ["comet"]')


def test_a_tracker_that_is_not_told_where_to_report_to_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    recipe = a_recipe(tmp_path, 'report_to = ["wandb"]')
    with pytest.raises(RecipeError, match="WANDB_API_KEY is not set here"):
        check_trackers(recipe)
    monkeypatch.setenv("WANDB_API_KEY", "key")
    check_trackers(recipe)


def test_trackers_find_project_and_name_in_the_environment_and_only_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_ENTITY", "ours")
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    recipe = a_recipe(
        tmp_path, 'report_to = ["wandb", "tensorboard"]\nproject = "p"\nentity = "theirs"\ntags = ["a", "b"]'
    )
    with tracked(recipe):
        assert (os.environ["WANDB_PROJECT"], os.environ["WANDB_NAME"], os.environ["WANDB_TAGS"]) == (
            "p", "acme/tiny", "a,b",
        )  # fmt: skip
        assert os.environ["WANDB_ENTITY"] == "ours"
        assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(tmp_path / "tensorboard")
    assert "WANDB_PROJECT" not in os.environ
    assert trackers(recipe.model) == ["wandb", "tensorboard"]


def test_without_trackers_nothing_is_put_into_the_environment(tmp_path: Path) -> None:
    before = dict(os.environ)
    with tracked(a_recipe(tmp_path, "")):
        assert dict(os.environ) == before


def test_without_a_network_wandb_needs_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_trackers(a_recipe(tmp_path, 'report_to = ["wandb"]'))
    assert "WANDB_API_KEY" not in os.environ


def test_a_jobs_integration_is_tracking_of_its_recipe_below_the_operators_entity_and_the_tenants_name() -> None:
    wanted = replace(order(), integrations=({"type": "wandb", "wandb": {"project": "p", "name": "n", "tags": ["a"]}},))
    text, _ = recipe_of(wanted, 12, validation_file=False, wandb_entity="ours")
    tracking = tomllib.loads(text)["tracking"]
    assert tracking == {
        "report_to": ["wandb"], "project": "acme.p", "run_name": "n", "entity": "ours", "tags": ["a"],
    }  # fmt: skip
    assert "[tracking]" not in recipe_of(order(), 12, validation_file=False, wandb_entity="ours")[0]


def test_versions_are_to_be_registered_where_mlflow_is_not_installed_is_an_error_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RegistrySettings(state_dir=tmp_path, mlflow_registry="sqlite:///x")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(TrainerError, match=r"SWITCHYARD_MLFLOW_REGISTRY is set, .*pip install mlflow.*or unset it"):
        check_registry(settings)
    check_registry(RegistrySettings(state_dir=tmp_path))


def test_who_registers_in_mlflow_has_none_of_our_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_for = ("SWITCHYARD_", "MLFLOW_", "DO_NOT_")
    says = f"import os; print(sorted(name for name in os.environ if name.startswith({looked_for!r})))"
    monkeypatch.setattr(mlflow_registry, "COMMAND", (sys.executable, "-c", says))
    with open_house(tmp_path) as house:
        house.tenant("acme")
        house.publish("acme/tiny")
        version = house.registry.adapters.get(parse_ref("acme/tiny@1.0"))
    monkeypatch.setenv("SWITCHYARD_STORE_KEY", "secret")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    assert mlflow_registry.register("http://127.0.0.1:1", version) == "['DO_NOT_TRACK', 'MLFLOW_TRACKING_TOKEN']"


def trained(folder: Path, base: Path, packages: OnDemand, read: str, **more: str) -> str:
    """The last line of a program that trains by the recipe in a folder, and then reads what the tracker has kept."""
    publish = "publish" if "SWITCHYARD_MLFLOW_REGISTRY" in more else "keep"
    done = subprocess.run(
        [
            *(sys.executable, "-c", TRAIN + read, folder / "RECIPE.toml", base, folder / "out"),
            *(publish, folder / "tracked"),
        ],
        cwd=ROOT,
        env={**os.environ, **packages.environment(), "SWITCHYARD_STATE_DIR": str(folder / "state"), **more},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.training
@TENSORBOARD.needed
def test_tensorboard_is_told_the_loss_of_every_step(base: Path, tmp_path: Path) -> None:
    a_recipe(tmp_path, 'report_to = ["tensorboard"]\nfolder = "tracked"')
    assert trained(tmp_path, base, TENSORBOARD, READ_TENSORBOARD) == "[1, 2, 3]"


@pytest.fixture(params=["in a file", "at a server"])
def mlflow_uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    if request.param == "in a file":
        yield store
        return
    with mlflow_server(tmp_path, store) as url:
        yield url


@pytest.mark.training
@pytest.mark.timeout(LONGEST_S + 120)
@MLFLOW.needed
def test_mlflow_has_the_run_and_the_published_version_with_its_lineage(
    base: Path, tmp_path: Path, mlflow_uri: str
) -> None:
    recipe = a_recipe(tmp_path, 'report_to = ["mlflow"]\nproject = "support"\nrun_name = "first"')
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        registry.tenants.create("acme")
    more = {"MLFLOW_TRACKING_URI": mlflow_uri, "SWITCHYARD_MLFLOW_REGISTRY": mlflow_uri}
    found = json.loads(trained(tmp_path, base, MLFLOW, READ_MLFLOW, **more))
    experiment, run, status, steps, rate, number, source, tags, digest = found
    assert (experiment, run, status, steps) == ("support", "first", "FINISHED", [1, 2, 3])
    assert float(rate) == recipe.model.training.learning_rate
    assert (int(number), source) == (1, "switchyard:/acme/tiny@1.0")
    assert tags["switchyard.digest"] == digest
    assert tags["switchyard.recipe_sha256"] == recipe.digest
    assert tags["switchyard.version"] == "acme/tiny@1.0"
    assert {"switchyard.tenant", "switchyard.train_sha256", "switchyard.base"} <= tags.keys()


@pytest.mark.training
@WANDB.needed
def test_wandb_without_a_network_has_the_run_in_its_project(base: Path, tmp_path: Path) -> None:
    a_recipe(tmp_path, 'report_to = ["wandb"]\nproject = "acme.support"\nentity = "ours"\ntags = ["a"]')
    more = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path / "tracked"), "WANDB_SILENT": "true"}
    (tmp_path / "tracked").mkdir()
    run, steps = json.loads(trained(tmp_path, base, WANDB, READ_WANDB, **more))
    assert run == ["ours", "acme.support", "acme/tiny", ["a"]]
    assert steps == [1, 2, 3]
