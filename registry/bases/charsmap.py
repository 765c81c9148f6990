"""The rules by which SentencePiece normalises: `precompiled_charsmap`, a trie of texts and what each becomes.

The trie is a double array (Darts-clone): a unit's offset leads to its children, each of which has its label, a byte.
Texts that end alike may share the end.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator

_LEAF = 1 << 8
_LABEL = (1 << 31) | 0xFF
_VALUE = (1 << 31) - 1
MOST_STEPS, LONGEST = 1 << 21, 64
"""Nodes that are looked at, and bytes of a text: real ones have some 200,000, and 18."""


def rules_of(charsmap: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each text that is replaced, and what replaces it, in UTF-8. Raises `ValueError` for what is no charsmap."""
    if not charsmap:
        return
    try:
        (size,) = struct.unpack_from("<I", charsmap)
        units = struct.unpack_from(f"<{size // 4}I", charsmap, 4)
    except struct.error as error:
        raise ValueError("precompiled_charsmap is damaged") from error
    texts = charsmap[4 + size :]
    children: defaultdict[int, list[int]] = defaultdict(list)
    for place, unit in enumerate(units):
        if unit & _LABEL < 256:
            children[place ^ (unit & 0xFF)].append(place)
    open_nodes, steps = [(0, b"")], 0
    while open_nodes:
        place, key = open_nodes.pop()
        steps += 1
        if steps > MOST_STEPS or len(key) > LONGEST:
            raise ValueError("precompiled_charsmap is damaged")
        base = place ^ _offset(units[place])
        if units[place] & _LEAF:
            if base >= len(units):
                raise ValueError("precompiled_charsmap is damaged")
            begins = units[base] & _VALUE
            yield key, texts[begins : texts.index(b"\0", begins)]
        open_nodes += [(child, key + bytes((child ^ base,))) for child in children[base] if child not in (base, place)]


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & (1 << 9)) >> 6)
