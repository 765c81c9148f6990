"""The lender that several gateways share: a Valkey, or a Redis, and one atomic script."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Any

import orjson
from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError

from gateway.limits.lending import (
    EAGER_PART,
    HUNGRY_S,
    KEPT_S,
    MINUTE_S,
    NEVER,
    ROUNDING,
    SETTLING_S,
    SILENT_S,
    CapGrant,
    CapWish,
    Grants,
    LenderLost,
    RateGrant,
    RateWish,
)

TIMEOUT_S = 1.0
PREFIX = "{switchyard}:"
"""All keys in one slot, so that a script may use them together also in a cluster."""


class ValkeyPool:
    """A `Lender`: the pool of `gateway.limits.lending`, kept in Valkey.

    It must not evict keys (`maxmemory-policy noeviction`), and another installation needs another database number.
    """

    def __init__(self, url: str, *, settling_s: float = SETTLING_S) -> None:
        """`url` as `GatewaySettings.limits_store` has it; whether a Valkey is there shows in `exchange`."""
        self._client: Valkey = Valkey.from_url(
            url,
            single_connection_client=True,  # exchanges come one after the other
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            decode_responses=True,
        )
        self._script = self._client.register_script(files(__package__).joinpath("pool.lua").read_text())
        self._constants = {
            "settling_ms": settling_s * 1000,
            "silent_ms": SILENT_S * 1000,
            "hungry_ms": HUNGRY_S * 1000,
            "kept_ms": KEPT_S * 1000,
            "minute_us": MINUTE_S * 1e6,
            "eager_part": EAGER_PART,
            "never": NEVER,
            "rounding": ROUNDING,
        }

    async def exchange(self, writer: str, caps: tuple[CapWish, ...], rates: tuple[RateWish, ...]) -> Grants:
        """As `Lender` says. Raises `LenderLost`."""
        ask = {
            **self._constants,
            "writer": writer,
            "caps": caps,
            "rates": rates,
        }
        accounts = [*(wish.account for wish in caps), *(wish.account for wish in rates)]
        keys = [PREFIX + name for name in ("epoch", *accounts)]
        try:
            async with asyncio.timeout(TIMEOUT_S):
                epoch, lends, lent, taken = await self._script(keys=keys, args=[orjson.dumps(ask)])
        except (ValkeyError, OSError, TimeoutError) as error:
            remedy = f"; if somebody else wrote to {PREFIX}*, delete these keys: it begins anew from the ledger"
            ours = "user_script" in str(error)  # the store works, and what lies in it is not what the script left
            raise LenderLost(f"{type(error).__name__}: {error}{remedy if ours else ''}") from error
        return Grants(
            f"valkey {epoch}",
            bool(lends),
            tuple(_cap(wish, *one) for wish, one in zip(caps, lent, strict=True)),
            tuple(RateGrant(wish.account, one[0], one[1] / 1e6) for wish, one in zip(rates, taken, strict=True)),
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()


def _cap(wish: CapWish, allowed: int, spent: int, idle: int, contended: Any) -> CapGrant:
    return CapGrant(wish.account, allowed, spent, idle, bool(contended))
