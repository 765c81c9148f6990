"""Texts that are nearly the same: MinHash signatures of character shingles, compared band by band.

Broder's MinHash (1997) estimates the Jaccard similarity of two sets as the share of equal minima; rows whose minima
agree in a whole band are compared. Characters, not words, are shingled, so that Chinese, Japanese and Thai work too.
The same texts give the same groups on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from typing import Any
from zlib import crc32

SIMILAR = 0.8
"""Estimated share of common shingles from which two texts count as nearly the same."""
PERMUTATIONS, BAND = 128, 8
SHINGLE, DENSE_SHINGLE = 5, 2
"""Characters; of scripts that write a word in one or two characters, fewer."""
MIN_SHINGLES = 16
"""In shorter texts one character is a large share: `Is 7 even?` and `Is 8 even?` are not the same."""
MAX_CHARACTERS = 8_000
"""Of one text that are looked at."""
LOOKED_AT = 64
"""Characters that tell whether a text is long enough."""
MAX_TEXTS = 50_000
"""That are compared: half a kilobyte each, and some 10 s in all. Of more, a sample by hash."""
DENSE = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def near_groups(texts: Sequence[str]) -> list[int]:
    """For each text the index of the first that it is nearly the same as, directly or by a chain; else its own.

    What all texts begin and end with (a template) is left out of the comparison.
    """
    bodies = without_frame(texts)
    leaders = list(range(len(texts)))
    first: dict[str, int] = {}
    for place, body in enumerate(bodies):
        leaders[place] = first.setdefault(body, place)
    chosen = [place for place in _sample(first) if _is_long_enough(bodies[place])]
    if len(chosen) > 1:
        _unite(leaders, chosen, _signatures([bodies[place] for place in chosen]))
    return [_leader(leaders, place) for place in range(len(texts))]


class Known:
    """Texts that are known, to which others are held one by one. Of more than `MAX_TEXTS`, copies alone are told."""

    def __init__(self) -> None:
        self._exact: set[bytes] = set()
        self._signatures: list[Any] = []
        self._bands: dict[tuple[int, bytes], list[int]] = {}

    def take(self, text: str) -> bool:
        """Whether the text is new, neither known nor nearly so; then it is known from now on."""
        key = blake2b(text.encode(errors="replace"), digest_size=16).digest()
        if key in self._exact:
            return False
        if _is_long_enough(text) and len(self._signatures) < MAX_TEXTS:
            signature = _signature(text)
            keys = [(at, signature[at : at + BAND].tobytes()) for at in range(0, PERMUTATIONS, BAND)]
            candidates = {place for band in keys for place in self._bands.get(band, ())}
            if any((self._signatures[place] == signature).mean() >= SIMILAR for place in candidates):
                return False
            for band in keys:
                self._bands.setdefault(band, []).append(len(self._signatures))
            self._signatures.append(signature)
        self._exact.add(key)
        return True


def compared_share(texts: Sequence[str]) -> float:
    """Share of the different texts that `near_groups` compares; 1 unless there are very many."""
    return min(1.0, MAX_TEXTS / max(1, len(set(texts))))


def without_frame(texts: Sequence[str]) -> list[str]:
    """Without the beginning and the end that all of them share, if that leaves something of each."""
    if len(set(texts)) < 2:
        return list(texts)
    start = _common(min(texts), max(texts))
    backwards = [text[: start - 1 if start else None : -1] for text in texts]
    end = _common(min(backwards), max(backwards))
    return [text[start : len(text) - end] for text in texts]


def _common(one: str, other: str) -> int:
    """Characters that both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _sample(first: dict[str, int]) -> list[int]:
    if len(first) <= MAX_TEXTS:
        return list(first.values())
    ranked = sorted(first, key=lambda text: blake2b(text.encode(errors="replace"), digest_size=8).digest())
    return sorted(first[text] for text in ranked[:MAX_TEXTS])


def _shingles(text: str) -> set[bytes]:
    """Of its characters, four bytes each."""
    text = text[:MAX_CHARACTERS]
    size = 4 * (DENSE_SHINGLE if len(DENSE.findall(text)) * 2 > len(text) else SHINGLE)
    data = text.encode("utf-32-le", errors="replace")
    return {data[at : at + size] for at in range(0, max(1, len(data) - size + 4), 4)}


def _is_long_enough(text: str) -> bool:
    beginning = text[:LOOKED_AT]
    return len(beginning) >= MIN_SHINGLES + DENSE_SHINGLE and len(_shingles(beginning)) >= MIN_SHINGLES


def _signatures(texts: Sequence[str]) -> Any:
    """A row of minima for each text: of each of many hash functions, the least value of any shingle."""
    import numpy as np

    found = np.empty((len(texts), PERMUTATIONS), dtype=np.uint32)
    for place, text in enumerate(texts):
        found[place] = _signature(text)
    return found


def _signature(text: str) -> Any:
    """Of one text; those of the last many are remembered, as a split, its leaks and its copies ask for the same."""
    import numpy as np

    key = blake2b(text[:MAX_CHARACTERS].encode(errors="replace"), digest_size=16).digest()
    found = _remembered.get(key)
    if found is None:
        if len(_remembered) >= MAX_TEXTS:
            _remembered.clear()
        factors, terms = _functions()
        hashes = np.fromiter(map(crc32, _shingles(text)), dtype=np.uint32)
        found = _remembered[key] = (factors * _mixed(hashes) + terms).min(axis=1)
    return found


_remembered: dict[bytes, Any] = {}


@cache
def _functions() -> tuple[Any, Any]:
    """An odd factor and a term for each function, h → factor · h + term modulo 2³²."""
    import numpy as np

    drawn = b"".join(blake2b(b"%d" % number, digest_size=8).digest() for number in range(PERMUTATIONS))
    both = np.frombuffer(drawn, dtype="<u4").reshape(PERMUTATIONS, 2).astype(np.uint32)
    return both[:, :1] | np.uint32(1), both[:, 1:]


def _mixed(hashes: Any) -> Any:
    """MurmurHash3's last step, a bijection: CRCs of like texts are alike, and must not be."""
    import numpy as np

    for factor, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13), (1, 16)):
        hashes = (hashes ^ (hashes >> np.uint32(shift))) * np.uint32(factor)
    return hashes


def _unite(leaders: list[int], chosen: list[int], signatures: Any) -> None:
    """Texts that agree in a band are compared with the first of them that they are near to."""
    import numpy as np

    for at in range(0, PERMUTATIONS, BAND):
        band = np.ascontiguousarray(signatures[:, at : at + BAND])
        keys = band.view(np.dtype((np.void, band.dtype.itemsize * BAND))).ravel()
        order = np.argsort(keys, kind="stable")
        ends = np.flatnonzero(keys[order][1:] != keys[order][:-1]) + 1
        for bucket in np.split(order, ends):
            if len(bucket) > 1:
                _unite_bucket(leaders, chosen, signatures, bucket)


MAX_ROUNDS = 50
"""Of one bucket of one band; the other bands look at what is left."""


def _unite_bucket(leaders: list[int], chosen: list[int], signatures: Any, bucket: Any) -> None:
    """The first of a bucket takes those near to it; then the first of what is left, some times."""
    for _ in range(MAX_ROUNDS):
        near = (signatures[bucket] == signatures[bucket[0]]).mean(axis=1) >= SIMILAR
        for place in bucket[near]:
            low, high = sorted((_leader(leaders, chosen[bucket[0]]), _leader(leaders, chosen[place])))
            leaders[high] = low
        bucket = bucket[~near]
        if len(bucket) < 2:
            return


def _leader(leaders: list[int], place: int) -> int:
    while leaders[place] != place:
        leaders[place] = leaders[leaders[place]]
        place = leaders[place]
    return place
