"""A link between a worker and its controller, whose ends prove themselves before either listens to the other.

```
worker     → controller   8 bytes that name the protocol, 32 random bytes w
controller → worker       32 random bytes c, MAC(key, "controller" w c)      it holds the lease
worker     → controller   MAC(key, "worker" w c)                             it is of the fleet
both                      frames: length, MAC(key of the direction, number of the frame, what it says), what it says
```

The key is made of the fleet's secret and of the lease's own, which is in the registry and another one in each term. So
who has the secret and holds no lease can neither lead nor say anything on a link of others. Nobody reads more of a
stranger than the three messages.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import struct
from collections.abc import Coroutine
from hashlib import blake2b
from typing import Any

MAGIC = b"swyd-l1\n"
NONCE_BYTES = MAC_BYTES = 32
HANDSHAKE_S = 2.0
"""In which both ends must have proven themselves."""
MAX_FRAME_BYTES = 1 << 26
"""An engine with 10⁵ adapters fits; a peer that sends more is none of ours."""
UNPROVEN_BYTES = 1024
"""Of what a stranger sends, so many wait to be read; a first read of the socket may bring some more."""
_HEAD = struct.Struct(f">I{MAC_BYTES}s")


class LinkBroken(Exception):
    """The other side is gone, or says what is no message."""


def link_key(fleet_secret: str, term_key: str) -> bytes:
    """What both ends of a link have in common: the secret of the settings and the lease's key, 64 hexadecimal digits.

    Raises `LinkBroken` for a lease without a key.
    """
    if len(term_key) != 2 * NONCE_BYTES:
        raise LinkBroken("the lease has no key: a gateway of an older version leads")
    return hmac.digest(bytes.fromhex(term_key), fleet_secret.encode("utf-8", "surrogatepass"), "sha256")


class Channel:
    """A link whose ends are proven. What was not written by the other end, in this order, breaks it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, writes: bytes, reads: bytes
    ) -> None:
        """`writes` and `reads` are the keys of the two directions."""
        self._reader = reader
        self._writer = writer
        self._writes = writes
        self._reads = reads
        self._written = 0
        self._read = 0

    def write(self, said: bytes) -> None:
        """Queue a frame."""
        self._writer.write(_HEAD.pack(len(said), _mac(self._writes, self._written, said)) + said)
        self._written += 1

    async def read(self, timeout_s: float) -> bytes:
        """What the next frame says. Raises `LinkBroken`, also when none comes in time."""
        try:
            async with asyncio.timeout(timeout_s):
                length, mac = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
                if length > MAX_FRAME_BYTES:
                    raise LinkBroken(f"a message of {length} bytes; the most is {MAX_FRAME_BYTES}")
                said = await self._reader.readexactly(length)
        except TimeoutError:
            raise LinkBroken(f"the other side said nothing for {timeout_s:g} s") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise LinkBroken(f"the other side closed the link: {error}") from error
        if not hmac.compare_digest(mac, _mac(self._reads, self._read, said)):
            raise LinkBroken("a message that the other side has not written")
        self._read += 1
        return said

    @property
    def unsent_bytes(self) -> int:
        """How much waits for the other side to read."""
        return self._writer.transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._writer.is_closing()

    def close(self) -> None:
        """Hang up when all is sent."""
        self._writer.close()

    def abort(self) -> None:
        """Hang up now."""
        self._writer.transport.abort()


async def of_controller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: bytes) -> Channel:
    """The controller's end. Raises `LinkBroken` for a stranger."""

    async def prove() -> bytes:
        greeting = await reader.readexactly(len(MAGIC) + NONCE_BYTES)
        if not greeting.startswith(MAGIC):
            raise LinkBroken("a stranger: it does not speak as workers of this version do")
        nonces = greeting[len(MAGIC) :] + (ours := secrets.token_bytes(NONCE_BYTES))
        writer.write(ours + _proof(key, b"controller", nonces))
        if not hmac.compare_digest(await reader.readexactly(MAC_BYTES), _proof(key, b"worker", nonces)):
            raise LinkBroken("a stranger: it does not have the fleet's secret and the lease's key")
        return nonces

    nonces = await _in_time(prove())
    return Channel(reader, writer, writes=_proof(key, b"to worker", nonces), reads=_proof(key, b"to leader", nonces))


async def of_worker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: bytes) -> Channel:
    """A worker's end. Raises `LinkBroken` for who does not hold the lease that the key is of."""

    async def prove() -> bytes:
        ours = secrets.token_bytes(NONCE_BYTES)
        writer.write(MAGIC + ours)
        answer = await reader.readexactly(NONCE_BYTES + MAC_BYTES)
        nonces = ours + answer[:NONCE_BYTES]
        if not hmac.compare_digest(answer[NONCE_BYTES:], _proof(key, b"controller", nonces)):
            raise LinkBroken("who listens there does not hold the lease, or has another fleet secret")
        writer.write(_proof(key, b"worker", nonces))
        return nonces

    nonces = await _in_time(prove())
    return Channel(reader, writer, writes=_proof(key, b"to leader", nonces), reads=_proof(key, b"to worker", nonces))


async def _in_time(proving: Coroutine[Any, Any, bytes]) -> bytes:
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            return await proving
    except TimeoutError:
        raise LinkBroken(f"the other side proved nothing within {HANDSHAKE_S:g} s") from None
    except (OSError, asyncio.IncompleteReadError) as error:
        raise LinkBroken(f"the other side hung up before it had proven itself: {error}") from error


def _proof(key: bytes, of: bytes, nonces: bytes) -> bytes:
    return hmac.digest(key, MAGIC + of + b"\n" + nonces, "sha256")


def _mac(key: bytes, number: int, said: bytes) -> bytes:
    return blake2b(said, key=key, salt=number.to_bytes(16, "big"), digest_size=MAC_BYTES).digest()
