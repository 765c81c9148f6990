"""Personal data in rows, by patterns: e-mail addresses, telephone numbers, payment cards (Luhn), bank accounts (IBAN).

Counts and lines are told, never the text. Patterns miss names and addresses; presidio-analyzer, where it is installed,
finds more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from registry.words import many
from trainer.data.findings import Finding, finding
from trainer.data.overlap import Row
from trainer.errors import TrainerError

MAX_CHARACTERS = 100_000
"""Of one text that are looked at."""
MIN_SCORE = 0.6


def _luhn(found: str) -> bool:
    """ISO/IEC 7812-1: every second digit from the right doubled, their digit sums a multiple of ten."""
    digits = [int(one) for one in found if one.isdigit()][::-1]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


IBAN_LENGTHS = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "NL"), 18),
    **dict.fromkeys(("SI",), 19),
    **dict.fromkeys(("AT", "EE", "LT", "LU"), 20),
    **dict.fromkeys(("CH", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "DE", "GB", "IE", "ME", "RS"), 22),
    **dict.fromkeys(("AE", "GI", "IL"), 23),
    **dict.fromkeys(("CZ", "ES", "RO", "SA", "SE", "SK"), 24),
    **dict.fromkeys(("PT",), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("FR", "GR", "IT", "MC", "SM"), 27),
    **dict.fromkeys(("CY", "HU", "PL"), 28),
    **dict.fromkeys(("BR", "UA"), 29),
    **dict.fromkeys(("MT",), 31),
}
"""Characters, by country."""


def _iban(found: str) -> bool:
    """ISO 13616: country and check digits behind the rest, letters as numbers, one more than a multiple of 97."""
    text = found.replace(" ", "")
    text = text[: IBAN_LENGTHS.get(text[:2], 0)]
    whole = len(text) == IBAN_LENGTHS.get(text[:2])
    return whole and int("".join(str(int(one, 36)) for one in text[4:] + text[:4])) % 97 == 1


def _phone(found: str) -> bool:
    return 8 <= sum(map(str.isdigit, found)) <= 15


PATTERNS: tuple[tuple[str, str, re.Pattern[str], Callable[[str], bool]], ...] = (
    (
        "pii_email",
        "e-mail addresses",
        re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,4}[A-Za-z]{2,24}(?![\w@-])", re.ASCII),
        lambda found: not found.lower().endswith(("@example.com", "@example.org", "@example.net")),
    ),
    ("pii_card", "payment card numbers", re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])", re.ASCII), _luhn),
    (
        "pii_iban",
        "bank account numbers (IBAN)",
        re.compile(r"(?<!\w)[A-Z]{2}\d\d(?: ?[A-Z0-9]){11,30}(?!\w)", re.ASCII),
        _iban,
    ),
    (
        "pii_phone",
        "telephone numbers",
        re.compile(
            r"(?<![\w+.-])(?:\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{1,4}"
            r"|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?![\w-])"
        ),
        _phone,
    ),
)


def personal_data(rows: Iterable[Row]) -> Iterator[Finding]:
    """By the patterns."""
    lines: dict[str, set[int]] = {code: set() for code, *_ in PATTERNS}

    @lru_cache(4_096)
    def codes(text: str) -> tuple[str, ...]:
        return tuple(
            code
            for code, _, pattern, holds in PATTERNS
            if any(holds(found[0]) for found in pattern.finditer(text[:MAX_CHARACTERS]))
        )

    for row in rows:
        for text in row.texts:
            for code in codes(text):
                lines[code].add(row.line)
    for code, what, *_ in PATTERNS:
        if lines[code]:
            yield _warning(code, what, lines[code])


def presidio_findings(rows: Iterable[Row]) -> Iterator[Finding]:
    """By presidio-analyzer with its English model. Raises TrainerError when that cannot be used."""
    analyzer = _presidio()
    lines: dict[str, set[int]] = {}
    for row in rows:
        for text in row.texts:
            for found in analyzer.analyze(text=text[:MAX_CHARACTERS], language="en", score_threshold=MIN_SCORE):
                lines.setdefault(str(found.entity_type), set()).add(row.line)
    for entity in sorted(lines):
        yield _warning(f"pii_{entity.lower()}", entity.lower().replace("_", " "), lines[entity])


def _presidio() -> Any:
    try:
        from presidio_analyzer import AnalyzerEngine  # type: ignore[import-not-found,unused-ignore]

        return AnalyzerEngine()
    except ImportError as missing:
        text = "presidio-analyzer is not installed; `pip install presidio-analyzer`, or leave --presidio away"
        raise TrainerError(text) from missing
    except (OSError, ValueError, SystemExit) as failed:  # its language model is a download of its own
        raise TrainerError(f"presidio-analyzer cannot start ({failed}); install its language model") from failed


def _warning(code: str, what: str, lines: set[int]) -> Finding:
    text = f"what looks like {what} in {many(len(lines), 'row')}; a model may repeat it: replace it, or be sure"
    return finding("warn", code, text, lines)
