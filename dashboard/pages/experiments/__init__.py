"""Experiments: what is tried on live traffic, what was found, what follows; shadows; and blind votes on answers.

`listing.py` all of them; `one.py` one, with its orders; `making.py` a new one; `votes.py` ballots and voting;
`shadows.py` copies of requests and pairs of answers.
"""

from __future__ import annotations

from dashboard.pages.experiments import listing, making, one, shadows, votes
from dashboard.web import Page

PAGE = Page(
    "/experiments",
    "Experiments",
    "experiments",
    [*listing.ROUTES, *making.ROUTES, *votes.ROUTES, *shadows.ROUTES, *one.ROUTES],
    place=40,
)
