"""What a month would cost at APIs and on engines of one's own, of traffic that is only supposed. Pure arithmetic.

    a month at an API  = requests · cost of a request at its list prices
    cost of a request  = input · ((1 - batch) · ((1 - cached) · price of input + cached · price of cached input)
                                  + batch · price of batch input)
                       + output · ((1 - batch) · price of output + batch · price of batch output)
    a month of one's own = engines · price of one a month, whether there is traffic or not
    break-even         = the price of the engines / cost of a request (`registry.break_even`)

Where an API has no price for cached or batched tokens, they cost as much as others there, and that is said. Batched
requests are taken to find no cache. All in exact fractions of nano-dollars.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from registry.break_even import break_even
from registry.money import MTOK, NANO
from registry.prices.baseline_infos import RETIRED, RETIRING, BaselineInfo, Claim, PricePeriod

HOURS_A_MONTH = 730
"""8,760 hours of a year by twelve."""
Verdict = Literal["stay on the API", "self-host", "too close to call"]
CLOSE = Fraction(1, 20)
"""Of the dearer: what differs by less is too close to call, as prices and traffic are known no better."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An API's model, and its list prices."""

    info: BaselineInfo
    prices: PricePeriod

    @property
    def name(self) -> str:
        """Of the baseline."""
        return self.info.name


@dataclass(frozen=True, slots=True)
class Case:
    """Traffic of a month, and the engines that would serve it. The defaults are those of the fine-tuning guide."""

    requests: int = 1_000_000
    input_tokens: int = 500
    output_tokens: int = 500
    """Of one request."""
    cached_share: Fraction = Fraction(0)
    """Of input tokens, that the API's prompt cache has."""
    batch_share: Fraction = Fraction(0)
    """Of requests, that can wait for a batch."""
    engine_nano: int = 2_000 * NANO
    """Of one engine a month."""
    engines: int = 1
    requests_an_engine: int | None = None
    """The most that one engine carries in a month; `None`: one is taken to carry all."""
    own_training_nano: int = 100 * NANO
    training_tokens: int = 16_666_667
    """Trained once at an API that fine-tunes; the guide's $50 at $3.00 a million."""

    @property
    def has_guides_traffic(self) -> bool:
        """Whether requests are as many and as long as the guide's, and each is priced whole."""
        shape = self.requests, self.input_tokens, self.output_tokens
        return shape == (1_000_000, 500, 500) and not (self.cached_share or self.batch_share)

    @property
    def engines_needed(self) -> int:
        """Those that are there, or as many as the requests take."""
        if self.requests_an_engine is None:
            return self.engines
        return max(self.engines, -(-self.requests // self.requests_an_engine))

    @property
    def own_nano(self) -> int:
        """Of the engines, a month."""
        return self.engine_nano * self.engines_needed


@dataclass(frozen=True, slots=True)
class Offer:
    """What the case costs at one API."""

    info: BaselineInfo
    request_nano: Fraction
    monthly_nano: Fraction
    training_nano: int | None
    """Once; `None`: it trains nobody's model."""
    break_even_requests: int | None
    """A month, from which on engines cost less; `None`: never, as a full engine costs more than the API."""
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """A figure that somebody names for the case, beside what list prices come to."""

    name: str
    claim: Claim
    listed_nano: Fraction
    """What that API's list prices come to."""
    fits: tuple[str, ...]
    """APIs of which list prices come to it, within a hundredth."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """All of it."""

    case: Case
    offers: Mapping[str, Offer]
    checked: tuple[Checked, ...]
    """Only of the guide's traffic, which such figures are about."""
    rival: Offer | None
    """The cheapest API that can still be asked: what engines are held against."""
    verdict: Verdict
    unlisted: tuple[str, ...] = ()
    """APIs that were asked for, and have no price."""
    price_version: str = ""

    @property
    def lasting(self) -> Offer | None:
        """The cheapest API of whose end nothing is known."""
        return _cheapest(one for one in self.offers.values() if one.info.state not in (RETIRING, RETIRED))

    @property
    def break_even_requests(self) -> int | None:
        """A month, against the rival."""
        return None if self.rival is None else self.rival.break_even_requests


def compare(case: Case, listed: Sequence[Listed], *, unlisted: Sequence[str] = (), price_version: str = "") -> Scenario:
    """The case at each API and on engines."""
    offers = {one.name: _offer(case, one) for one in listed}
    rival = _cheapest(one for one in offers.values() if one.info.state != RETIRED)
    return Scenario(
        case=case,
        offers=offers,
        checked=tuple(_checked(offers)) if case.has_guides_traffic else (),
        rival=rival,
        verdict="self-host" if rival is None else _verdict(case, rival),
        unlisted=tuple(unlisted),
        price_version=price_version,
    )


def _cheapest(offers: Iterable[Offer]) -> Offer | None:
    return min(offers, key=lambda one: (one.monthly_nano, one.info.name), default=None)


def _offer(case: Case, listed: Listed) -> Offer:
    each = _request_nano(case, listed.prices)
    even = break_even(case.engine_nano * case.engines, each)
    full = None if case.requests_an_engine is None else case.requests_an_engine * case.engines
    price = listed.prices.nano("training")
    return Offer(
        info=listed.info,
        request_nano=each,
        monthly_nano=each * case.requests,
        training_nano=None if price is None else -(-case.training_tokens * price // MTOK),
        break_even_requests=None if even is None or (full is not None and even > full) else even,
        assumed=tuple(_assumed(case, listed)),
    )


def _request_nano(case: Case, prices: PricePeriod) -> Fraction:
    """Of one request of the case."""
    batch, cached = case.batch_share, case.cached_share
    own_input, own_output = prices.input_nano_per_mtok, prices.output_nano_per_mtok
    batch_input, batch_output = prices.nano("batch_input"), prices.nano("batch_output")
    of_input = prices.cached_input_nano_per_mtok * cached + own_input * (1 - cached)
    read = of_input * (1 - batch) + (own_input if batch_input is None else batch_input) * batch
    written = own_output * (1 - batch) + (own_output if batch_output is None else batch_output) * batch
    return (case.input_tokens * read + case.output_tokens * written) / MTOK


def _assumed(case: Case, listed: Listed) -> Iterator[str]:
    known = listed.prices.components
    if case.cached_share and "cached_input" not in known:
        yield f"{listed.name} has no price for cached input: it costs as much as other input"
    if case.batch_share and not {"batch_input", "batch_output"} <= known.keys():
        yield f"{listed.name} has no price for batches: they cost as much as other requests"


def _verdict(case: Case, rival: Offer) -> Verdict:
    own, api = Fraction(case.own_nano), rival.monthly_nano
    if abs(own - api) < CLOSE * max(own, api):
        return "too close to call"
    return "self-host" if own < api else "stay on the API"


def _checked(offers: Mapping[str, Offer]) -> Iterator[Checked]:
    for name, offer in offers.items():
        claim = offer.info.claim
        if claim is not None:
            said = claim.nano_per_month
            fits = (other for other, of in offers.items() if abs(of.monthly_nano - said) * 100 <= said)
            yield Checked(name, claim, offer.monthly_nano, tuple(fits))
