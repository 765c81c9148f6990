"""A version that was published here becomes a model version of an MLflow registry too, with its lineage as tags.

`register` runs `python -m trainer.mlflow_registry URI` and writes a `ModelVersion` to it as JSON: MLflow is imported by
that process alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from registry.adapters.version_rows import VersionInfo
from registry.children.asked import ChildGone, ChildSlow, ask_once
from registry.children.environment import without_settings
from registry.children.mouth import Mouth
from registry.settings import RegistrySettings
from trainer.errors import TrainerError

MOST_S = 120.0
COMMAND = (sys.executable, "-m", "trainer.mlflow_registry")
DIGEST = "switchyard.digest"
LINEAGE = {
    "switchyard.base": "base_digest",
    "switchyard.recipe_sha256": "recipe_sha256",
    "switchyard.train_sha256": "train_sha256",
    "switchyard.heldout_sha256": "heldout_sha256",
}
"""Tags, and the keys of a version's lineage that they have."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """What is registered. `source` is a URI by which nobody fetches anything: the bytes are here."""

    name: str
    source: str
    tags: Mapping[str, str]


def model_version_of(version: VersionInfo) -> ModelVersion:
    """`tenant.adapter` in MLflow, whose names have no slash."""
    known = {tag: str(version.lineage[key]) for tag, key in LINEAGE.items() if version.lineage.get(key)}
    tags = {
        "switchyard.version": version.name,
        "switchyard.tenant": version.tenant,
        "switchyard.adapter": version.adapter,
        DIGEST: version.manifest_digest,
        **known,
    }
    return ModelVersion(f"{version.tenant}.{version.adapter}", f"switchyard:/{version.name}", tags)


def check_registry(settings: RegistrySettings) -> None:
    """Raises TrainerError when versions are to be registered, and MLflow is not installed here."""
    if settings.mlflow_registry is not None and importlib.util.find_spec("mlflow") is None:
        raise TrainerError(
            "SWITCHYARD_MLFLOW_REGISTRY is set, and the package mlflow is not installed here; install it beside the "
            "trainer (pip install mlflow), or unset it"
        )


def register(uri: str, version: VersionInfo) -> str:
    """`NAME version N` in MLflow; the same version is registered once. Raises TrainerError."""
    asked = json.dumps(asdict(model_version_of(version))).encode()
    environment = {"DO_NOT_TRACK": "true", **without_settings()}
    try:
        said = ask_once("MLflow", (*COMMAND, uri), asked, within_s=MOST_S, environment=environment)
    except ChildSlow:
        raise TrainerError(f"MLflow did not register {version.name} within {MOST_S:.0f} s") from None
    except ChildGone as gone:
        raise TrainerError(f"MLflow did not register {version.name}: {gone}") from None
    return said.decode().strip()


def _register(client: Any, wanted: ModelVersion) -> str:
    """By an `MlflowClient`."""
    exceptions = importlib.import_module("mlflow.exceptions")
    try:
        client.create_registered_model(wanted.name, tags={"switchyard.tenant": wanted.tags["switchyard.tenant"]})
    except exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for known in client.search_model_versions(f"name='{wanted.name}'"):
        if known.tags.get(DIGEST) == wanted.tags[DIGEST]:
            return f"{wanted.name} version {known.version}"
    made = client.create_model_version(wanted.name, wanted.source, tags=dict(wanted.tags))
    return f"{wanted.name} version {made.version}"


def main(uri: str, asked: str) -> str:
    """What `register` has done in a process of its own."""
    os.environ.setdefault("MLFLOW_TRACKING_URI", uri)
    mlflow = importlib.import_module("mlflow")
    return _register(mlflow.MlflowClient(uri, uri), ModelVersion(**json.loads(asked)))


if __name__ == "__main__":
    mouth = Mouth()
    mouth.say(f"{main(sys.argv[1], sys.stdin.read())}\n".encode())
