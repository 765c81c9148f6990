"""The gateway's image without Docker: its Dockerfile's steps are run one by one, and what they made is tried alone.

Nothing of this checkout is in its way: no variable, no folder and no interpreter but what the steps put there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from loadtest.mock_engine.options import Options
from loadtest.ports import free_port
from loadtest.testing import MockEngine
from tests.live.installation import ROOT
from tests.support.adapter_folders import VOCAB
from tests.support.stack import run as run_async
from tests.support.waiting import wait_until

STEP_S = 240.0
"""Seconds that one step may take; the longest one installs what is in the lock."""
OURS = ("switchyard", "registry", "gateway", "telemetry", "trainer", "dashboard", "loadtest")
STAGES = ("tools", "wheel", "build", "gateway")
"""Those that the gateway's image is made of."""


DOCKERFILE = (ROOT / "Dockerfile").read_text()
CACHE = subprocess.run(
    [str(Path(sys.executable).parent / "uv"), "cache", "dir"], capture_output=True, text=True, check=True, timeout=60
).stdout.strip()
"""What was downloaded before."""


@dataclass(frozen=True, slots=True)
class Image:
    """The folders of the image's stages on this machine, as one."""

    root: Path

    def here(self, text: str) -> str:
        """The same step, with the image's folders at their places here."""
        return re.sub(r"(?<![\w.])/(app|src|build|wheels|state)\b", lambda found: f"{self.root}/{found[1]}", text)

    @property
    def environment(self) -> dict[str, str]:
        """What the Dockerfile sets, and of this machine the temporary folder and where packages come from."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "TMP", "SSL_"))}
        home = self.root / "home"
        quick = {"PIP_NO_COMPILE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "UV_CACHE_DIR": CACHE}
        return {**kept, **quick, **self.settings, "HOME": str(home), "PATH": f"{self.root}/app/bin:/usr/bin:/bin"}

    @property
    def settings(self) -> dict[str, str]:
        """ENV of the last stages."""
        text = re.split(r"^FROM \S+ AS run$", DOCKERFILE, flags=re.M)[1]
        found = dict(re.findall(r"\b(SWITCHYARD_\w+)=(\S+)", text))
        return {name: self.here(value) for name, value in found.items()}

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command of the image, in an empty folder and to its end."""
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        done = subprocess.run(
            command,
            cwd=home,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=STEP_S,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done


IMPORTING = """
import importlib, json, sys

failed = {}
for name in json.load(sys.stdin):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        failed[name] = error.name
print(json.dumps(failed))
"""


def steps(stage: str) -> list[tuple[str, str]]:
    """COPY and RUN of one stage, in order."""
    (text,) = re.findall(rf"^FROM \S+ AS {stage}$(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)
    return re.findall(r"^(COPY|RUN) (.*)$", text, re.M)


def tracked(*folders: str) -> list[str]:
    """Files of the checkout; what is not known to git is in no image of a clean clone."""
    return subprocess.run(
        ["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split("\0")[:-1]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """All steps of the gateway's image, run."""
    made = Image(tmp_path_factory.mktemp("image"))
    (made.root / "state").mkdir()
    python = f"{Path(sys.base_prefix) / 'bin' / 'python3'}"
    for stage in STAGES:
        for what, argument in steps(stage):
            if what == "COPY":
                _copy(made, argument)
            else:
                made.run("sh", "-ec", made.here(re.sub(r"^python ", f"{python} ", argument)))
    return made


def _copy(image: Image, argument: str) -> None:
    if argument.startswith("--from="):
        return  # all stages are one here
    *sources, target = argument.split()
    whole = sources == ["."]
    for name in tracked() if whole else sources:
        file = Path(image.here(target)) / (name if whole else Path(name).name)
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, file)


def test_the_wheel_has_every_file_of_ours(image: Image) -> None:
    (wheel,) = (image.root / "wheels").glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {name for name in tracked(*OURS) if not name.startswith("loadtest/results/")}
    assert wanted - packed == set()


def test_nothing_in_it_lacks_what_it_needs(image: Image) -> None:
    image.run(str(image.root / "build" / "bin" / "uv"), "pip", "check", "--python", str(image.root / "app"))


def test_every_module_of_the_gateway_and_the_dashboard_can_be_imported(image: Image) -> None:
    names = [
        name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for name in tracked("switchyard", "registry", "gateway", "telemetry", "dashboard")
        if name.endswith(".py") and "migrations/" not in name and not name.endswith("__main__.py")
    ]
    told = subprocess.run(
        [str(image.root / "app" / "bin" / "python"), "-c", IMPORTING],
        input=json.dumps(names),
        cwd=image.root / "home",
        env=image.environment,
        capture_output=True,
        text=True,
        timeout=STEP_S,
        check=True,
    ).stdout
    assert json.loads(told) == {}


@pytest.fixture
def engine(base: Path) -> Iterator[str]:
    """An engine of the tiny base."""
    mock = MockEngine(Options(model=str(base), max_loras=4, vocab_size=VOCAB))
    run_async(mock.start())
    yield mock.url
    run_async(mock.stop())


def test_it_serves_with_a_base_that_is_known_by_what_an_engine_answers(image: Image, base: Path, engine: str) -> None:
    port, admin, pages = free_port(), free_port(), free_port()
    settings = {
        "SWITCHYARD_ENGINES": f'["{engine}"]',
        "SWITCHYARD_PORT": str(port),
        "SWITCHYARD_ADMIN_LISTEN": f"127.0.0.1:{admin}",
        "SWITCHYARD_DASHBOARD_ADMIN_URL": f"http://127.0.0.1:{admin}",
        "SWITCHYARD_DASHBOARD_SERVING_URL": f"http://127.0.0.1:{port}",
        "SWITCHYARD_DASHBOARD_PORT": str(pages),
    }
    folder = shutil.copytree(base, image.root / "home" / "model", dirs_exist_ok=True)
    image.run("switchyard", "base", "register", "base", str(folder), **settings)
    measured = image.run(*_of_compose("fingerprint", engine), **settings)
    assert measured.stdout.endswith(f"as {engine} answers\n"), measured.stderr
    image.run("switchyard", "tenants", "create", "acme", **settings)
    made = image.run(
        "switchyard", "keys", "create", "acme", "--scope", "inference", "--scope", "base", "--json", **settings
    )
    key = json.loads(made.stdout)["secret"]
    processes = [
        subprocess.Popen(
            [str(image.root / "app" / "bin" / "switchyard"), command],
            cwd=image.root / "home",
            env={**image.environment, **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for command in ("gateway", "dashboard")
    ]
    try:
        wait_until("the gateway is ready", lambda: _answers(f"http://127.0.0.1:{port}/readyz"))
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            headers={"Authorization": f"Bearer {key}"},
            json={"model": "base", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        wait_until("the dashboard answers", lambda: _answers(f"http://127.0.0.1:{pages}/healthz"))
        assert "Log in" in httpx.get(f"http://127.0.0.1:{pages}/", follow_redirects=True, timeout=30).text
        (shown,) = json.loads(image.run("switchyard", "engines", "list", "--json", **settings).stdout)
        assert (shown["state"], shown["chat_template"]) == ("up", "same")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=60)


def _of_compose(service: str, engine: str) -> list[str]:
    """What deploy/compose.yaml runs for a service, with the engine at its address here."""
    found = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"][service]
    return [*found["entrypoint"], *(text.replace("http://engine:8001", engine) for text in found["command"])]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
