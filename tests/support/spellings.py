"""One name in all the ways in which somebody may write it who hopes that it is compared carelessly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

CONFUSABLE = str.maketrans("aeiopcxys", "аеіорсхуѕ")
"""Latin letters, and Cyrillic ones that look the same."""
WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
"""ASCII, and its full-width forms: the same by NFKC."""
LONG, END = 300, 4
"""Characters that are put behind; and those at the end, by which names differ, which stay as long in bytes as they are.
"""

SPELLED: Mapping[str, Callable[[str], str]] = {
    "as it is": str,
    "in capitals": str.upper,
    "with one capital": str.capitalize,
    "full width": lambda text: text.translate(WIDE),
    "confusable": lambda text: text[:-END].translate(CONFUSABLE) + text[-END:],
    "an accent": lambda text: f"{text}\u0301",
    "something invisible": lambda text: f"{text[:3]}\u200b{text[3:]}",
    "a mark of byte order": lambda text: f"\ufeff{text}",
    "a NUL": lambda text: f"{text}\0",
    "a NUL and more": lambda text: f"{text}\0.json",
    "a slash behind": lambda text: f"{text}/",
    "slashes before": lambda text: f"//{text}",
    "a space behind": lambda text: f"{text} ",
    "a space before": lambda text: f" {text}",
    "a line break": lambda text: f"{text}\n",
    "a dot before": lambda text: f"./{text}",
    "a way up": lambda text: f"x/../{text}",
    "a way down": lambda text: f"{text}/..",
    "percent signs": lambda text: percent(text),
    "an @ behind": lambda text: f"{text}@",
    "a version behind": lambda text: f"{text}@1.0",
    "an alias behind": lambda text: f"{text}@production",
    "a quote": lambda text: f"{text}'",
    "a wildcard": lambda text: f"{text[:-1]}%",
    "very long": lambda text: text + "a" * LONG,
    "half a pair": lambda text: f"{text}\ud800",
}  # fmt: skip
"""Class of spelling → a name so spelled."""


def percent(text: str) -> str:
    """Every byte as `%xx`."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


IN_PATHS: Mapping[str, Callable[[str], str]] = {
    "as it is": lambda text: quote(text.encode("utf-8", "surrogatepass"), safe="/@:"),
    "each byte": percent,
    "twice": lambda text: quote(quote(text, safe=""), safe=""),
    "slashes too": lambda text: quote(text.encode("utf-8", "surrogatepass"), safe=""),
    "slashes as others": lambda text: quote(text, safe="").replace("%2F", "%5C"),
    "overlong": lambda text: quote(text, safe="").replace("%2F", "%C0%AF"),
    "parameters": lambda text: f"{quote(text, safe='/@:')};a=b",
}
"""Ways to write the same in an address."""


def alike(one: str, two: str, name: str, twin: str) -> bool:
    """Whether two texts are the same but for `name` in the one where `twin` is in the other, whatever of them is there
    and however it is written: characters that differ are those that differ in the names.
    """
    written = [(name, twin), (name.lower(), twin.lower())]
    if name.isascii():
        written += [(percent(name), percent(twin)), (percent(name).upper(), percent(twin).upper())]
    differ = {pair for names in written for pair in zip(*names, strict=True)}
    return len(one) == len(two) and all(a == b or (a, b) in differ for a, b in zip(one, two, strict=True))
