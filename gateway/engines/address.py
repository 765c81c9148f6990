"""Where an engine is: the one form of its URL, which is what everything knows it by."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """What an engine URL says."""

    host: str
    port: int
    named: str
    """Host and port as they stand in it."""

    @classmethod
    def parse(cls, url: str) -> EngineAddress:
        """Raises `ValueError`, without what may be a secret, for a URL that is not `http://host:port` and no more."""
        if "@" in url:
            raise ValueError(
                "the engine URL has a user name or password in it; expected http://host:port, and an engine's key in "
                "`api_key` of SWITCHYARD_ENGINES, or in the variable that `engines add --key-variable` names"
            )
        if "?" in url or "#" in url:
            raise ValueError(
                "the engine URL has a query or fragment (what follows ? or #), which no engine reads; expected "
                "http://host:port, and an engine's key in `api_key` of SWITCHYARD_ENGINES, or in the variable that "
                "`engines add --key-variable` names"
            )
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"engine URL is {url!r}; expected http://host:port")
        return cls(parts.hostname, parts.port or 80, parts.netloc)


def engine_url(given: str) -> str:
    """As the fleet knows it: in small letters, without a slash at its end and without the port that `http` has anyway.
    What it is otherwise is not looked at.
    """
    return given.rstrip("/").lower().removesuffix(":80")


def shown_url(url: str) -> str:
    """For people: without what may be a secret in one that is no engine URL."""
    front, at, behind = url.split("?")[0].split("#")[0].rpartition("@")
    return f"{front.partition('://')[0]}://…@{behind}" if at else behind
