"""Where models are asked, and with which key."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Literal

from trainer.errors import EndpointError

Api = Literal["openai", "anthropic"]
DEFAULT_URLS: dict[Api, str] = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
KEY_VARIABLES: dict[Api, str] = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
ANTHROPIC_VERSION = "2023-06-01"
CHAT = "/chat/completions"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`base_url` is what an SDK would be given; `key` may be empty for servers that ask for none.

    `remedy` tells what to do when nothing answers as it must. `is_ours`: the key is for no proxy.
    """

    base_url: str
    key: str = field(repr=False)
    api: Api = "openai"
    remedy: str = "correct --api or --base-url"
    is_ours: bool = False

    def url(self, path: str = CHAT) -> str:
        """Where requests to one of its paths go."""
        base = self.base_url.rstrip("/")
        return f"{base}{path}" if self.api == "openai" else f"{base.removesuffix('/v1')}/v1/messages"

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        if self.api == "anthropic":
            return {"anthropic-version": ANTHROPIC_VERSION} | ({"x-api-key": self.key} if self.key else {})
        return {"authorization": f"Bearer {self.key}"} if self.key else {}


def gateway_at(url: str, key: str) -> Endpoint:
    """A gateway of ours, with or without its `/v1`, and a key of the tenant."""
    whole = url.rstrip("/")
    whole = whole if whole.endswith("/v1") else f"{whole}/v1"
    return Endpoint(whole, key, remedy="start a gateway, or say with --url where it is", is_ours=True)


def key_from(variable: str, *, required: bool, option: str = "--key-env") -> str:
    """A key that an environment variable holds; empty where there is none and none is needed. Raises EndpointError."""
    key = os.environ.get(variable, "").strip()
    if not key and required:
        raise EndpointError(f"{variable} is not set; put the endpoint's key into it, or name another with {option}")
    if not re.fullmatch("[!-~]*", key):
        raise EndpointError(f"{variable} holds characters that no key has; correct it")
    return key
