"""What commands share that ask models: whom, with which key, and how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.errors import InvalidInput
from switchyard.console import StepBar, actor, say
from switchyard.picture_files import write_picture

if TYPE_CHECKING:
    from registry.service import Registry
    from trainer.endpoints.client import Client
    from trainer.evaluation.asking import Asker
    from trainer.evaluation.judge import Judge

JUDGE_KEY = "SWITCHYARD_JUDGE_KEY"
AtOnceOption = typer.Option(4, "--at-once", min=1, max=64, help="Rows that are asked at the same time.")
KeyOption = typer.Option(
    None,
    "--key",
    envvar="SWITCHYARD_API_KEY",
    help="A key of the tenant. Default: one that is made now and revoked afterwards.",
)
JudgeOption = typer.Option(None, "--judge", help="A model that compares the answers to every row, in both orders.")
JudgeUrlOption = typer.Option(
    None,
    "--judge-url",
    help="Its OpenAI-compatible endpoint, as an SDK is given it. Default: the gateway, with the same key.",
)
JudgeKeyOption = typer.Option(JUDGE_KEY, "--judge-key-env", help="Environment variable with its key.")
PlotOption = typer.Option(None, "--plot", help="Draw the matrix into a .svg or .png file.")


@contextmanager
def gateway_asked(registry: Registry, tenant: str, key: str | None, url: str | None) -> Iterator[Asker]:
    """The gateway at `url`, else the one that runs on this state folder; without a key by one that ends with this."""
    from trainer.endpoints.endpoint import gateway_at
    from trainer.evaluation.asking import asker
    from trainer.evaluation.sides import key_of

    with (
        nullcontext(key) if key else key_of(registry, tenant, actor()) as secret,
        asker(gateway_at(url or _gateway_url(), secret)) as ask,
    ):
        yield ask


def _gateway_url() -> str:
    """Of the gateway that runs on this state folder, or by the settings."""
    from gateway.serving.running import gateway_of
    from gateway.settings import GatewaySettings

    settings = GatewaySettings()
    running = gateway_of(settings)
    return settings.url if running is None else running.url


@contextmanager
def judge_at(model: str | None, url: str | None, key_env: str, gateway: Client) -> Iterator[Judge | None]:
    """The judge that was named: at an endpoint of its own, or at the gateway."""
    from trainer.evaluation.judge import Judge

    if model is None:
        yield None
        return
    if url is None:
        yield Judge(gateway, model)
        return
    with elsewhere(url, key_env, "--judge-url", "--judge-key-env") as client:
        yield Judge(client, model)


@contextmanager
def elsewhere(url: str, key_env: str, url_option: str, key_option: str) -> Iterator[Client]:
    """An OpenAI-compatible endpoint with the key of an environment variable, if that has one."""
    from trainer.endpoints.client import client_of
    from trainer.endpoints.endpoint import Endpoint, key_from

    key = key_from(key_env, required=False, option=key_option)
    with client_of(Endpoint(url, key, remedy=f"correct {url_option}")) as client:
        yield client


@contextmanager
def step_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how many are done, on a terminal."""
    bar = StepBar()
    try:
        yield lambda done, total: bar.update(done, total, unit) if bar.shows else None
    finally:
        bar.end()


def write_picture_or_say(file: Path, picture: bytes) -> None:
    """What was measured is worth more than its picture: a file that cannot be written is told, and no error."""
    try:
        write_picture(file, picture)
    except InvalidInput as failed:
        say(failed.message, err=True)
