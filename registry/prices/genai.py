"""Prices out of the package `genai-prices`, as lines for the log: dated where it has dates, and of their first tier.

The package and its data take a second and 90 MB: for commands, and never for a process that serves.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.days import date_of, day_ms, day_number
from registry.errors import Conflict, InvalidInput, NotFound
from registry.money import dollars_to_nano
from registry.prices.baseline_infos import CHECKED
from registry.prices.price_log import Said
from registry.prices.taking import Taken

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

    from registry.prices.baselines import Baselines

ORIGIN = "genai-prices"
TAKEN = {"input_mtok": "input", "cache_read_mtok": "cached_input", "output_mtok": "output"}
BATCH = {"input_mtok": "batch_input", "output_mtok": "batch_output"}
"""The package's names of what is taken of it; the cached price of batches, and all else, is not."""
_READ_ON = re.compile(r"\b(?:verified|checked|as of)\s+(?:on\s+)?(20\d\d-[01]\d-[0-3]\d)\b", re.IGNORECASE)
"""A day on which somebody looked. Other days of the data are of prices and of their ends, and may be still to come."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What the package says of one model."""

    said: tuple[Said, ...]
    doubts: tuple[str, ...]
    """What of it is not in these lines, a sentence each."""


class GenaiPrices:
    """The package's data. To make one imports it."""

    def __init__(self, today_ms: int) -> None:
        import genai_prices
        from genai_prices.data_snapshot import get_snapshot

        data = (Path(genai_prices.__file__).parent / "data.py").read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        self.snapshot = f"genai-prices {genai_prices.__version__} (data {digest[:12]})"
        """Its version, and the first digits of the SHA-256 of its data."""
        self.read_ms = newest_reading(data.decode(), today_ms)
        """The newest day, not after today, on which its data say that a page was read: they are no older than that."""
        self._providers = get_snapshot().providers

    def find(self, name: str, provider: str | None = None) -> Listing:
        """Prices of `MODEL` or `PROVIDER/MODEL`, under that name.

        Raises `NotFound` with the nearest, and `InvalidInput` where several providers have it or its price is none
        that a log by dates can have.
        """
        at, model = self._one(name, provider)
        doubts: list[str] = []
        standard, batch = _by_date(model), _batches(model)
        said = [*self._prices(name, at, standard, TAKEN, doubts), *self._prices(name, at, batch, BATCH, doubts)]
        if not {"input", "output"} <= {one.field for one in said}:
            raise InvalidInput(f"{at.id}/{model.id} has no price per token of input and output there", param="model")
        if model.deprecated:
            doubts.append("it is called deprecated there, without a date; say the date with `cost baselines status`")
        facts = (("provider", at.id), (CHECKED, None))
        said += [
            Said(name, field, self.read_ms, self._source(at), ORIGIN, text=text, retrieved_at_ms=self.read_ms)
            for field, text in facts
        ]
        return Listing(tuple(said), tuple(doubts))

    def _prices(
        self,
        name: str,
        provider: Provider,
        dated: Mapping[int, Mapping[str, Any]],
        taken: Mapping[str, str],
        doubts: list[str],
    ) -> Iterator[Said]:
        before: set[str] = set()
        for from_ms, prices in dated.items():
            if left := sorted(prices.keys() - taken.keys()):
                _add(doubts, f"not taken: {', '.join(left)}")
            for key in [key for key in taken if key in prices or key in before]:
                before.add(key)
                price, note = _first_tier(prices.get(key))
                if note:
                    _add(doubts, f"{taken[key]}: {note}")
                notes = [note] if note else []
                if not from_ms:
                    notes.append("without a first day there")
                yield Said(
                    name,
                    taken[key],
                    from_ms,
                    self._source(provider),
                    ORIGIN,
                    None if price is None else dollars_to_nano(format(price, "f"), taken[key]),
                    retrieved_at_ms=self.read_ms,
                    note="; ".join(notes),
                )

    def _source(self, provider: Provider) -> str:
        page = provider.pricing_urls[0] if provider.pricing_urls else provider.name
        return f"{self.snapshot}: {page}"[:500]

    def _one(self, name: str, provider: str | None) -> tuple[Provider, ModelInfo]:
        if provider is None and "/" in name:
            first, _, rest = name.partition("/")
            at = next((one for one in self._providers if one.id == first), None)
            if at is not None and (models := _models(at, rest)):
                return at, models[0]
        asked = [one for one in self._providers if provider in (None, one.id)]
        if not asked:
            known = ", ".join(sorted(one.id for one in self._providers))
            raise NotFound(f"provider is {provider!r}; choose from {known}", param="provider")
        found = [(one, model) for one in asked for model in one.models if model.id == name]
        if not found and len(asked) == 1:
            found = [(asked[0], model) for model in _models(asked[0], name)[:1]]
        if len(found) > 1:
            several = ", ".join(f"{one.id}/{name}" for one, _ in found)
            raise InvalidInput(f"model is {name!r}, which several providers have: name one of {several}", param="model")
        if not found:
            names = [f"{one.id}/{model.id}" for one in asked for model in one.models]
            nearest = get_close_matches(name, [*names, *(one.partition("/")[2] for one in names)], n=3, cutoff=0.6)
            more = f"; did you mean {' or '.join(dict.fromkeys(nearest))}?" if nearest else ""
            raise NotFound(f"model is {name[:80]!r}, and {self.snapshot} has no such one{more}", param="model")
        return found[0]


def take_listings(baselines: Baselines, listings: Mapping[str, Listing]) -> dict[str, Taken]:
    """Take what the package says of models into the log, all or none; what was left has the listings' doubts too.

    Raises `Conflict` when a name is another provider's in the log.
    """
    known = set(baselines.names())
    for name, listing in listings.items():
        theirs = next(said.text for said in listing.said if said.field == "provider")
        ours = baselines.info(name).provider if name in known else None
        if ours not in (None, theirs):
            raise Conflict(
                f"model is {name!r}, which is of {ours} in the log; import it as {theirs}/{name}", param="model"
            )
    taken = {name: baselines.take(listing.said) for name, listing in listings.items()}
    return {name: Taken(one.added, (*one.left, *listings[name].doubts)) for name, one in taken.items()}


def _models(provider: Provider, name: str) -> list[ModelInfo]:
    """The one that is called so, or else those that answer to it."""
    exact = [model for model in provider.models if model.id == name]
    return exact or [model for model in provider.models if model.is_match(name)]


def _by_date(model: ModelInfo) -> dict[int, dict[str, Any]]:
    from genai_prices.types import ModelPrice

    if isinstance(model.prices, ModelPrice):
        return {0: _priced(model.prices)}
    days = [_first_day(one.constraint, model) for one in model.prices]
    starts = sorted({day for day in days if day is not None} | ({date.min} if None in days else set()))
    return {
        _ms(day): _priced(model.get_prices(datetime.combine(max(day, date(1970, 1, 1)), time(), UTC))) for day in starts
    }


def _batches(model: ModelInfo) -> dict[int, dict[str, Any]]:
    """Of variants the first that applies counts; more than one date is not looked for."""
    for variant in model.price_variants or ():
        if variant.when == {"processing": "batch"}:
            day = _first_day(variant.constraint, model)
            return {0 if day is None else _ms(day): _priced(variant.prices)}
    return {}


def _first_day(constraint: Any, model: ModelInfo) -> date | None:
    from genai_prices.types import StartDateConstraint

    if constraint is None:
        return None
    if isinstance(constraint, StartDateConstraint):
        return constraint.start_date
    raise InvalidInput(
        f"the price of {model.id} depends on the time of day there, which a price by dates cannot say; add what you "
        "reckon with by `switchyard cost baselines add-price`",
        param="model",
    )


def _priced(prices: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(prices).items() if value is not None and not key.startswith("_")}


def _first_tier(price: Any) -> tuple[Any, str]:
    if hasattr(price, "tiers"):
        return price.base, f"the first tier, for prompts of up to {price.tiers[0].start} tokens; longer ones cost more"
    return price, ""


def _ms(day: date) -> int:
    return 0 if day == date.min else day_ms(day.isoformat(), "from")


def newest_reading(data: str, today_ms: int) -> int:
    """Of days in `data` on which a price was read, the newest that is not after `today_ms`; without one, that."""
    today = date_of(day_number(today_ms))
    days: Sequence[str] = [day for day in _READ_ON.findall(data) if day <= today]
    return day_ms(max(days), "day") if days else today_ms


def _add(doubts: list[str], doubt: str) -> None:
    if doubt not in doubts:
        doubts.append(doubt)
