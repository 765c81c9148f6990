"""What tenants' prompts and answers look like in the database: compressed, and encrypted where there is a key.

A sealed value is one byte that says how, and what that needs: `0` and a zstd frame; or `1`, 8 bytes that name the key,
a nonce, and the frame under AES-256-GCM. `2` and `3` are the same for short values, whose frames are made with what all
of them have in common (`registry.responses.vocabulary`). Each tenant has a key of its own, derived from the operator's,
and each value is bound to its place: moved to another row or another tenant's, it cannot be opened.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import zstandard

from registry.errors import CorruptBlob, InvalidInput
from registry.responses.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
PLAIN_WORD = "plain"
"""Among keys: what was written without one is read too."""
ENCRYPTED, SHORT = 1, 2
"""Bits of the first byte."""
SHORT_BYTES = 4_096
"""Longer values have little from the vocabulary, and zstd looks there first."""
NAME_BYTES, NONCE_BYTES = 8, 12
LEVEL = 1
"""zstd's, at which a response takes some microseconds."""
SHORT_EFFORT = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    target_length=1,
    min_match=7,
    search_log=1,
    window_log=12,
    chain_log=6,
    hash_log=10,
    write_checksum=True,
)
"""Of short values: a third of those, and nearly no more room. Tables of 4 kB each, where the level with this strategy
has them of 32: none is near the processor any more when the next response comes.
"""
MOST_CIPHERS = 1_024
"""Tenants' ciphers that are kept at hand."""
PARAM = "store_key"
REMEDY = "make one with `openssl rand -base64 32`"


class Unreadable(CorruptBlob):
    """A sealed value cannot be opened with the keys that there are."""


class _Codecs(threading.local):
    """Of each thread, by whether values are `SHORT`."""

    def __init__(self) -> None:
        words = zstandard.ZstdCompressionDict(VOCABULARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        words.precompute_compress(compression_params=SHORT_EFFORT)
        self.compressors = {
            0: zstandard.ZstdCompressor(LEVEL, write_checksum=True),
            SHORT: zstandard.ZstdCompressor(dict_data=words, compression_params=SHORT_EFFORT),
        }
        self.decompressors = {0: zstandard.ZstdDecompressor(), SHORT: zstandard.ZstdDecompressor(dict_data=words)}


class Keyring:
    """Seals with the first key and opens with all of them. For any number of threads."""

    def __init__(self, keys: str | None) -> None:
        """`keys`: one or more with commas between them, each 32 bytes in base64; behind them may stand `plain`.

        Raises `InvalidInput` for what is no such key, and never says it.
        """
        words = [word.strip() for word in (keys or "").split(",") if word.strip()]
        self._opens_plain = not words or PLAIN_WORD in words
        secrets = [_secret(word, number) for number, word in enumerate(words, 1) if word != PLAIN_WORD]
        if keys is not None and (not secrets or words[0] == PLAIN_WORD):
            raise InvalidInput(
                f"store_key begins with no key, and the first one is what is written with; {REMEDY}", param=PARAM
            )
        self._secrets = {_name_of(secret): secret for secret in secrets}
        self._writes_with = _name_of(secrets[0]) if secrets else None
        self._ciphers: dict[tuple[bytes, str], AESGCM] = {}
        self._codecs = _Codecs()

    def seal(self, value: bytes, tenant: str, *place: str) -> bytes:
        """A value as it is stored in this place of the tenant's."""
        mark = SHORT if len(value) <= SHORT_BYTES else 0
        frame = self._codecs.compressors[mark].compress(value)
        name = self._writes_with
        if name is None:
            return b"%c%b" % (mark, frame)
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher(name, tenant).encrypt(nonce, frame, _bound_to(tenant, place))
        return b"%c%b%b%b" % (mark | ENCRYPTED, name, nonce, sealed)

    def open(self, sealed: bytes, tenant: str, *place: str) -> bytes:
        """The value that was stored there. Raises `Unreadable`."""
        frame = self._frame(sealed, tenant, place)
        try:
            return self._codecs.decompressors[sealed[0] & SHORT].decompress(frame)
        except zstandard.ZstdError as error:
            raise Unreadable(f"what is stored as {'/'.join(place)} is damaged") from error

    def open_bounded(self, sealed: bytes, most_bytes: int, tenant: str, *place: str) -> bytes:
        """Likewise, for what anybody may have written: a value that is longer is `Unreadable` too."""
        frame = self._frame(sealed, tenant, place)
        try:
            length = zstandard.frame_content_size(frame)
        except zstandard.ZstdError:
            length = -1
        if not 0 <= length <= most_bytes:
            raise Unreadable(f"what is given as {'/'.join(place)} is damaged or too long")
        return self.open(sealed, tenant, *place)

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed as it would be now."""
        if not sealed[0] & ENCRYPTED:
            return self._writes_with is None
        return sealed[1 : 1 + NAME_BYTES] == self._writes_with

    def _frame(self, sealed: bytes, tenant: str, place: Sequence[str]) -> bytes:
        if not sealed or sealed[0] > ENCRYPTED | SHORT:
            raise Unreadable(f"what is stored as {'/'.join(place)} is damaged")
        if not sealed[0] & ENCRYPTED:
            if not self._opens_plain:
                raise Unreadable(
                    f"what is stored as {'/'.join(place)} was written without a key; add `,{PLAIN_WORD}` to "
                    "SWITCHYARD_STORE_KEY until `switchyard responses reseal` has encrypted it",
                    param=PARAM,
                )
            return sealed[1:]
        name, rest = sealed[1 : 1 + NAME_BYTES], sealed[1 + NAME_BYTES :]
        if name not in self._secrets:
            raise Unreadable(
                f"what is stored as {'/'.join(place)} was written with the key {name.hex()}, which is not in "
                "SWITCHYARD_STORE_KEY; add it behind the first one, with a comma between them",
                param=PARAM,
            )
        from cryptography.exceptions import InvalidTag

        try:
            frame = self._cipher(name, tenant).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], _bound_to(tenant, place))
        except (InvalidTag, ValueError) as error:
            raise Unreadable(f"what is stored as {'/'.join(place)} is not what was written there") from error
        return frame

    def _cipher(self, name: bytes, tenant: str) -> AESGCM:
        found = self._ciphers.get((name, tenant))
        if found is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 10 MB, for who has a key

            if len(self._ciphers) >= MOST_CIPHERS:
                self._ciphers.clear()
            own = hmac.digest(self._secrets[name], b"switchyard responses of " + tenant.encode(), "sha256")
            found = self._ciphers[name, tenant] = AESGCM(own)
        return found


def _secret(word: str, number: int) -> bytes:
    try:
        secret = base64.b64decode(word.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise InvalidInput(
            f"store_key has no key of {KEY_BYTES} bytes in base64 as its number {number}; {REMEDY}", param=PARAM
        )
    return secret


def _name_of(secret: bytes) -> bytes:
    return hashlib.sha256(b"switchyard store key\0" + secret).digest()[:NAME_BYTES]


def _bound_to(tenant: str, place: Sequence[str]) -> bytes:
    return "\0".join((tenant, *place)).encode()
