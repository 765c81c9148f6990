"""What can be said of image and Compose file without Docker: that their commands, settings and files are there."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from dashboard.settings import DashboardSettings
from gateway.settings import GatewaySettings
from tests.live.installation import ROOT
from trainer.jobs.settings import TrainerSettings

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = [name for name, service in SERVICES.items() if "build" in service]
BASE_OF_THE_FILE = "SWITCHYARD_BASE_MODEL"
"""A variable of the file's own."""


def stages() -> dict[str, str]:
    """Of the Dockerfile: name and what stands in each."""
    found = re.split(r"^FROM (?:\S+) AS (\S+)$", DOCKERFILE, flags=re.M)
    return dict(zip(found[1::2], found[2::2], strict=True))


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_a_service_is_one_that_is_read(name: str) -> None:
    known = {
        f"SWITCHYARD_{field.upper()}"
        for one in (GatewaySettings, TrainerSettings, DashboardSettings)
        for field in one.model_fields
    }
    given = {name for name in SERVICES[name]["environment"] if name.startswith("SWITCHYARD_")}
    assert given - known == {BASE_OF_THE_FILE}


def test_the_trainer_shares_state_and_gateway_and_publishes_nothing() -> None:
    trainer, gateway = SERVICES["trainer"], SERVICES["gateway"]
    assert trainer["volumes"] == gateway["volumes"] == ["state:/state"]
    assert trainer["environment"]["SWITCHYARD_STATE_DIR"] == gateway["environment"]["SWITCHYARD_STATE_DIR"]
    address = re.fullmatch(r"http://(\w+):(\d+)", trainer["environment"]["SWITCHYARD_TRAINER_GATEWAY"])
    assert address is not None
    assert address[1] in SERVICES
    assert f"{address[2]}:{address[2]}" in SERVICES[address[1]]["ports"]
    assert set(trainer["networks"]) & set(gateway["networks"])
    assert "ports" not in trainer
    assert trainer["profiles"] == ["train"]


def test_a_trainer_that_is_stopped_has_the_time_that_its_checkpoint_may_take() -> None:
    grace = int(SERVICES["trainer"]["stop_grace_period"].removesuffix("s"))
    assert grace > TrainerSettings.model_fields["trainer_stop_grace_s"].default


@pytest.mark.parametrize("name", OURS)
def test_what_a_service_is_built_from_is_a_stage_that_runs_what_is_in_its_lock(name: str) -> None:
    build = SERVICES[name]["build"]
    target = build["target"] if isinstance(build, dict) else list(stages())[-1]
    (installed,) = re.findall(r"COPY --from=(\S+) /app /app", stages()[target])
    (lock,) = re.findall(r"-r /src/(\S+)", stages()[installed])
    text = (ROOT / lock).read_text()
    assert (re.search(r"^trl==", text, re.M) is not None) is (name == "trainer")
    assert not re.search(r"^vllm", text, re.M)
    assert re.findall(r'CMD \["(\w+)"\]$', stages()[target], re.M) == ["trainer" if name == "trainer" else "gateway"]


@pytest.mark.parametrize("lock", ["gateway", "trainer"])
def test_a_lock_of_an_image_names_every_package_with_its_hashes(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    entries = re.split(r"\n(?=\S)", text)
    packages = [entry for entry in entries if re.match(r"[\w.\[\]-]+==", entry)]
    assert len(packages) > 20
    assert all("--hash=sha256:" in entry for entry in packages)
