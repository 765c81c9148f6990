"""What can be said of image and Compose file without Docker: that their commands, settings and files are there."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dashboard.settings import DashboardSettings
from gateway.settings import GatewaySettings
from tests.live.installation import ROOT
from trainer.jobs.settings import TrainerSettings

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = [name for name, service in SERVICES.items() if "build" in service]
OF_THE_FILE = {"SWITCHYARD_BASE_MODEL"}
"""Variables of the file's own."""
ONCE = {"base", "fingerprint"}
"""Services that do one thing and end."""
BY_TAG = {
    "engine": "which build of vLLM fits is known to who knows the GPU; SWITCHYARD_ENGINE_IMAGE names it by digest"
}
"""Images that are named by a tag, and why."""


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
    given = {name.removesuffix("_FILE") for name in SERVICES[name]["environment"] if name.startswith("SWITCHYARD_")}
    assert given - known == (OF_THE_FILE if name == "base" else set())


def test_the_trainer_shares_state_and_gateway_and_publishes_nothing() -> None:
    trainer, gateway = SERVICES["trainer"], SERVICES["gateway"]
    assert (
        trainer["volumes"] == gateway["volumes"] == ["state:/state", "adapters:/state/adapters", "models:/state/base"]
    )
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


def test_the_engine_sees_adapters_and_models_and_nothing_else_of_the_state() -> None:
    assert SERVICES["engine"]["volumes"] == ["adapters:/state/adapters:ro", "models:/state/base:ro"]
    (made,) = re.findall(r"install -d -o switchyard (.*)$", DOCKERFILE, re.M)
    assert {"/state/adapters", "/state/base"} < set(made.split())  # a volume that is empty takes its owner from there
    assert SERVICES["engine"]["networks"] == ["private"]
    assert COMPOSE["networks"]["private"]["internal"] is True


def test_the_key_for_gated_models_is_where_they_are_fetched_and_nowhere_else() -> None:
    assert [name for name, one in SERVICES.items() if "HF_TOKEN_PATH" in (one.get("environment") or {})] == ["base"]
    assert [name for name, one in SERVICES.items() if "hf_token" in one.get("secrets", [])] == ["base"]


SECRET = {
    f"SWITCHYARD_{name.upper()}"
    for one in (GatewaySettings, TrainerSettings, DashboardSettings)
    for name, field in one.model_fields.items()
    if not field.repr
} | {"HF_TOKEN", "VLLM_API_KEY"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_secret_is_a_file_that_the_service_has_and_never_a_value(name: str) -> None:
    given, files = SERVICES[name].get("environment") or {}, set(SERVICES[name].get("secrets", []))
    assert not SECRET & given.keys()
    named = {key: value for key, value in given.items() if "/run/secrets/" in value}
    read = {value.split("/run/secrets/")[1].rstrip("}") for value in named.values()}
    assert read == (set() if name == "engine" else files), "the engine's command reads its own"
    for key, value in named.items():
        secret = value.split("/run/secrets/")[1].rstrip("}")
        variable = key.replace("HF_TOKEN_PATH", "HF_TOKEN_FILE")
        assert COMPOSE["secrets"][secret] == {"file": f"${{{variable}:-/dev/null}}"}
        assert value in (f"${{{variable}:+/run/secrets/{secret}}}", f"/run/secrets/{secret}")


def test_a_gateway_reads_the_secrets_that_it_is_given_and_none_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Compose's `${X:+Y}`: Y where X is set."""
    secrets = {"store_key": b64encode(b"k" * 32).decode(), "engine_api_key": "sk-of-the-engine"}
    for secret, text in secrets.items():
        (tmp_path / secret).write_text(text + "\n")
    for key, value in SERVICES["gateway"]["environment"].items():
        if where := re.fullmatch(r"\$\{\w+:\+/run/secrets/(\w+)\}", value):
            monkeypatch.setenv(key, str(tmp_path / where[1]) if where[1] in secrets else "")
    settings = GatewaySettings()
    assert {name: getattr(settings, name) for name in secrets} == secrets
    assert settings.database_url is None


@pytest.mark.parametrize("key", ["", "sk-of-the-engine"])
def test_the_engine_has_the_key_of_its_file_if_there_is_one(tmp_path: Path, key: str) -> None:
    (tmp_path / "vllm").write_text('#!/bin/sh\necho "key=$VLLM_API_KEY"\n')
    (tmp_path / "vllm").chmod(0o755)
    (tmp_path / "engine_api_key").write_text(key)
    (tmp_path / "tool-flags").write_text("")
    (script,) = SERVICES["engine"]["command"]
    script = script.replace("$$", "$").replace("/run/secrets", str(tmp_path)).replace("/state/base", str(tmp_path))
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [*SERVICES["engine"]["entrypoint"], script]
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == f"key={key}\n"


def test_the_admin_listener_is_not_published() -> None:
    host, _, port = SERVICES["gateway"]["environment"]["SWITCHYARD_ADMIN_LISTEN"].rpartition(":")
    assert host == "127.0.0.1"
    published = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert [one for one in published if one.endswith(f":{port}")] == []
    assert [one for one in published if not one.startswith("127.0.0.1:")] == ["8000:8000"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_comes_back_and_is_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service.get("restart") == (None if name in ONCE else "unless-stopped")
    assert {"mem_limit", "ulimits"} <= service.keys()
    assert service["ulimits"]["nofile"] >= 4096


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "image" in service])
def test_an_image_of_others_is_named_by_its_digest(name: str) -> None:
    assert ("@sha256:" in SERVICES[name]["image"]) is (name not in BY_TAG)


def test_our_images_begin_with_one_that_is_named_by_its_digest_and_install_nothing_unhashed() -> None:
    (python,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.M)
    assert re.search(r"@sha256:[0-9a-f]{64}$", python)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)) == {"${PYTHON}", "tools", "run"}
    installs = re.findall(r"pip (?:install|wheel) (.*)$", DOCKERFILE, re.M)
    assert installs
    assert all("--no-deps" in one and ("--require-hashes" in one or "--no-index" in one) for one in installs)


LOCKS = sorted(path.name for path in (ROOT / "requirements").glob("*.txt") if not path.name.startswith("overrides"))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_every_package_with_its_hashes(lock: str) -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements" / lock).read_text())
    packages = [entry for entry in entries if not entry.startswith("#")]
    assert packages
    assert all(re.match(r"[\w.\[\]-]+==", entry) and "--hash=sha256:" in entry for entry in packages)


@pytest.mark.parametrize(("lock", "extras"), [("gateway", ["postgres", "archive", "otel"]), ("trainer", ["train"])])
def test_a_lock_has_what_the_project_asks_for(lock: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    locked = dict(
        re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==(\S+)", (ROOT / "requirements" / f"{lock}.txt").read_text(), re.M)
    )
    for one in map(Requirement, asked):
        assert one.specifier.contains(locked[canonicalize_name(one.name)]), f"{one}; run `make lock`"
