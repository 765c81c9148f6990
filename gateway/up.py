"""What `switchyard up` does: engine, gateway and trainer on this machine, kept running, with two sample tenants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import httpx

from gateway import checks
from gateway.admin_key import admin_key, admin_key_file
from gateway.engines.engine import Platform
from gateway.engines.vllm.launch import EmbeddedEngine, engine_url
from gateway.samples import Sample, provision, samples
from gateway.serving import running, supervisor
from gateway.serving.children import StopSignals
from gateway.serving.supervisor import Role, StartFailed
from gateway.serving.telling import Teller
from gateway.settings import GatewaySettings
from registry.bases.store import BaseInfo
from registry.errors import RegistryError
from registry.service import Registry

ENGINE_START_TIMEOUT_S = 300.0
GATEWAY_START_TIMEOUT_S = 90.0
DASHBOARD_START_TIMEOUT_S = 30.0
TRAINER_GRACE_S = 60.0
"""To end the step that is going on and to store a checkpoint."""
WITH_TOOLS = "--base-model takes one that does, such as Qwen/Qwen2.5-0.5B-Instruct."


@dataclass(frozen=True, slots=True)
class DashboardPlace:
    """A dashboard to be started, and how it is asked."""

    host: str
    port: int
    url: str
    environment: Mapping[str, str]
    """What tells it which gateway it shows."""
    link: Callable[[str], str]
    """Key → an address that logs in once. Raises `RegistryError`."""
    shows_links: bool = False
    """Whether what is said goes to a person alone: who reads a link in a log could log in by it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `up` is asked for."""

    engine_port: int
    examples: Path
    """Folder of the sample tasks, if it is there."""
    base_model: str | None
    """A folder or a hub id; `None` is the packaged one, which the samples were trained on."""
    trainer: bool = True
    """Whether fine-tuning jobs are carried out here too."""
    dashboard: DashboardPlace | None = None
    """Where the gateway is shown in a browser; `None`: nowhere."""


def run_up(settings: GatewaySettings, wanted: Wanted, signals: StopSignals, teller: Teller) -> NoReturn:
    """Start engine, gateway and trainer, show that they answer, and keep them running until a signal.

    Raises `StartFailed` when they do not come up at first, `Stopped` on a signal.
    """
    began_s = time.monotonic()
    running.refuse_second_up(settings.state_dir)
    require(
        [
            checks.check_python(),
            checks.check_engine_wheel(),
            checks.check_torch(),
            checks.check_cpu(),
            checks.check_memory(),
            checks.check_port("gateway port", settings.host, settings.port, "--port"),
            checks.check_port("engine port", "127.0.0.1", wanted.engine_port, "--engine-port"),
        ]
    )
    with running.only_up(settings.state_dir, engine_url(wanted.engine_port)):
        shown = samples_wanted(wanted)
        folder = _prepare_base(wanted.base_model)
        base, keys = _fill_registry(settings, folder, wanted.examples, shown, teller)
        _say_where_the_admin_key_is(settings, teller)
        platform: Platform = "gpu" if checks.has_gpu() else "cpu"
        engine = EmbeddedEngine.serving(base, folder, wanted.engine_port, platform, settings.max_lora_rank)
        gateway = gateway_role(settings, engine.url, base.name, platform, engine.max_cpu_loras)
        shown_at = _free_dashboard(wanted.dashboard, teller)

        def greet() -> None:
            asked = shown if keys else []
            _show_answers(gateway.url, keys, asked, teller)
            teller.say("", f"Ready after {time.monotonic() - began_s:.0f} s. Ctrl-C stops everything.")
            if engine.tool_parser is None:
                teller.say(f"{base.name} knows no tools: requests with `tools` are refused. {WITH_TOOLS}")
            if shown_at is not None:
                teller.say(*where_the_dashboard_is(shown_at, admin_key(settings)))
            teller.say("", "Try:", "")
            calls = calls_to_paste(gateway.url, keys, *asked) if asked else f"curl {gateway.url}/readyz"
            teller.say(*calls.split("\n"))

        roles = [engine_role(engine, gateway.ready_url), gateway]
        roles += [dashboard_role(shown_at)] if shown_at is not None else []
        roles += [trainer_role()] if wanted.trainer else []
        supervisor.supervise(roles, settings.state_dir / "logs", greet, signals, teller)


def samples_wanted(wanted: Wanted) -> list[Sample]:
    """None without their folder, or with another base than theirs."""
    if wanted.base_model is not None or not wanted.examples.is_dir():
        return []
    try:
        return samples(wanted.examples)
    except OSError as error:
        raise StartFailed(
            f"--examples is {str(wanted.examples)!r}, and {error.filename} cannot be read ({error.strerror}); "
            "give the folder examples/ of Switchyard's source, or one that is not there to start without samples"
        ) from error


def _show_answers(url: str, keys: Mapping[str, str], shown: Sequence[Sample], teller: Teller) -> None:
    for sample in shown:
        with teller.live(f"asking {sample.model}"):
            answer = ask(url, keys[sample.tenant], sample)
        teller.say(f"answer    {sample.model}: {answer}")


def require(found: Sequence[checks.Check]) -> None:
    """Raise `StartFailed` with the first finding that is not ok."""
    for check in found:
        if not check.ok:
            raise StartFailed(f"{check.name}: {check.found}; {check.remedy}")


def engine_role(engine: EmbeddedEngine, served_url: str) -> Role:
    """vLLM, healthy once the base model is loaded. `served_url` tells whether the gateway serves from it."""
    return Role(
        "engine",
        "loading the base model",
        engine.url,
        engine.command(),
        engine.environment(),
        ready_url=engine.health_url,
        alive_url=engine.health_url,
        start_timeout_s=ENGINE_START_TIMEOUT_S,
        meanwhile="requests get a 503 until then",
        served_url=served_url,
    )


def gateway_role(settings: GatewaySettings, engine_url: str, base: str, platform: str, max_cpu_loras: int) -> Role:
    """The gateway in front of that engine. When it starts again it need not wait for an engine."""
    url = f"http://{'127.0.0.1' if settings.host == '0.0.0.0' else settings.host}:{settings.port}"  # noqa: S104
    environment = {
        "SWITCHYARD_STOP_DELAY_S": "0",  # there is no load balancer
        **os.environ,
        "SWITCHYARD_PORT": str(settings.port),
        "SWITCHYARD_ENGINES": json.dumps([engine_url]),
        "SWITCHYARD_ENGINE_BASE": base,
        "SWITCHYARD_ENGINE_PLATFORM": platform,
        "SWITCHYARD_ENGINE_MAX_CPU_LORAS": str(max_cpu_loras),
        "SWITCHYARD_ENGINE_PROMPT_LOGPROBS": "true",  # its lm_head is out of LoRA's reach
    }
    return Role(
        "gateway",
        "loading adapters",
        url,
        [sys.executable, "-m", "switchyard", "gateway"],
        environment,
        ready_url=f"{url}/readyz",
        alive_url=f"{url}/healthz",
        start_timeout_s=GATEWAY_START_TIMEOUT_S,
        grace_s=settings.stop_grace_s,
    )


def trainer_role() -> Role:
    """A worker for fine-tuning jobs. It serves nothing; when it is told to end it saves what it trains."""
    return Role(
        "trainer",
        "takes fine-tuning jobs",
        "",
        [sys.executable, "-m", "switchyard", "trainer"],
        dict(os.environ),
        grace_s=TRAINER_GRACE_S,
        meanwhile="fine-tuning jobs wait until then",
    )


def dashboard_role(place: DashboardPlace) -> Role:
    """What shows the gateway in a browser. Whatever becomes of it, the others go on."""
    return Role(
        "dashboard",
        "starting",
        place.url,
        [sys.executable, "-m", "switchyard", "dashboard"],
        {**os.environ, **place.environment},
        ready_url=f"{place.url}/healthz",
        alive_url=f"{place.url}/healthz",
        start_timeout_s=DASHBOARD_START_TIMEOUT_S,
        meanwhile="nothing else is touched by that",
        optional=True,
    )


def _free_dashboard(place: DashboardPlace | None, teller: Teller) -> DashboardPlace | None:
    """The place if it is free; else says why there is no dashboard."""
    if place is None:
        return None
    check = checks.check_port("dashboard port", place.host, place.port, "SWITCHYARD_DASHBOARD_PORT")
    if check.ok:
        return place
    teller.say(f"dashboard left out: {check.found}; {check.remedy}")
    return None


def where_the_dashboard_is(place: DashboardPlace, key: str) -> tuple[str, ...]:
    """Lines that tell it, with a link where only a person reads them."""
    if not place.shows_links:
        return f"See it at {place.url}", "(log in with an operator's key, or by a link: `switchyard dashboard link`)"
    try:
        return f"See it at {place.link(key)}", "(that logs in once; `switchyard dashboard link` makes another)"
    except RegistryError as error:
        return (f"dashboard {error.message}",)


def _prepare_base(base_model: str | None) -> Path:
    """The base model's folder; made by the trainer in a process of its own, because it needs torch."""
    command = [sys.executable, "-m", "switchyard", "base", "prepare", *([base_model] if base_model else [])]
    done = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise StartFailed("the base model could not be prepared; the reason is above")
    return Path(json.loads(done.stdout)["folder"]).absolute()


def _fill_registry(
    settings: GatewaySettings, folder: Path, examples: Path, shown: Sequence[Sample], teller: Teller
) -> tuple[BaseInfo, dict[str, str]]:
    """The base model as the registry knows it, and the sample tenants' keys."""
    with Registry.open(settings) as registry:
        with teller.live("base model: reading its digest"):
            base = registry.bases.adopt(folder)
        teller.say(f"base      {base.name} ({base.digest[7:19]}…)")
        gone = [sample.tenant for sample in shown if registry.tenants.was_deleted(sample.tenant)]
        if gone:
            teller.say(f"samples   left out, as tenant {gone[0]} was deleted")
        if gone or not shown:
            return base, {}
        with teller.live("samples: publishing adapters"):
            keys = provision(registry, examples, base.name, settings.state_dir / "sample-keys.json")
        teller.say(f"samples   {', '.join(sample.model for sample in shown)}")
    return base, keys


def _say_where_the_admin_key_is(settings: GatewaySettings, teller: Teller) -> None:
    admin_key(settings)
    where = "SWITCHYARD_ADMIN_KEY" if settings.admin_key is not None else str(admin_key_file(settings))
    teller.say(f"admin     the key of /admin/v1 and `switchyard fleet` is in {where}")


def ask(url: str, key: str, sample: Sample) -> str:
    """One real request to a sample's adapter; its answer as text."""
    body = {"model": sample.model, "temperature": 0, **sample.request}
    answer = httpx.post(url + sample.path, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=120.0)
    if answer.status_code != 200:
        raise StartFailed(f"{sample.model} did not answer: HTTP {answer.status_code} {answer.text[:300]}")
    choice = answer.json()["choices"][0]
    return str(choice["message"]["content"] if "message" in choice else choice["text"]).strip()


def calls_to_paste(url: str, keys: Mapping[str, str], chat: Sample, completion: Sample) -> str:
    """A curl call and an `openai` call, complete."""
    body = json.dumps({"model": completion.model, "temperature": 0, **completion.request})
    shell_body = body.replace("'", "'\\''")
    return f"""\
curl {url}{completion.path} \\
  -H 'Authorization: Bearer {keys[completion.tenant]}' -H 'Content-Type: application/json' \\
  -d '{shell_body}'

{sys.executable} - <<'PYTHON'
from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key="{keys[chat.tenant]}")
answer = client.chat.completions.create(
    model="{chat.model}",
    messages={chat.request["messages"]!r},
    temperature=0,
    max_tokens={chat.request["max_tokens"]},
)
print(answer.model, answer.choices[0].message.content)
PYTHON"""
