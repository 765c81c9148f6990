"""Blind votes over the admin API: who votes hears neither names nor sides, and results are of conversations."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import count

import pytest

from registry.votes.ballots import NewPair, Shown
from tests.support.admin_calls import Admin
from tests.support.stack import Stack

WITHOUT_NUMPY = """
import sys
import gateway.app
import gateway.api.admin.ballots, gateway.api.admin.experiment_outlook
from gateway.experiments.preference import Standing
standing = Standing()
for winner in (1, 1, 1, -1, 0) * 30:
    standing.take(winner)
print(standing.preference.text)
assert "numpy" not in sys.modules
"""


COMPARISONS = count()


@pytest.fixture
def path(stack: Stack) -> str:
    """A ballot of the test's own."""
    comparison = f"c{next(COMPARISONS)}"
    pairs = [
        NewPair(f"p{number}", f"u{number}", "a" if number % 2 else "b", Shown("Where?", f"L{number}", f"R{number}"))
        for number in range(4)
    ]
    stack.house.registry.ballots.put_up("acme", comparison, ("acme/secret@1.0", "acme/secret@1.1"), pairs, actor="kim")
    return f"/ballots/acme/{comparison}"


def test_a_vote_is_cast_and_taken_back_without_a_name_being_told(admin: Admin, path: str) -> None:
    first = admin.get(f"{path}/next", voter="ann")
    assert (first["pair"], first["done"], first["pairs"], first["shown"]["left"]) == ("p0", 0, 4, "L0")
    vote = admin.post(f"{path}/votes", pair="p0", voter="ann", preferred="left")
    told = json.dumps([first, vote, admin.get(f"{path}/next", voter="ann")])
    assert "secret" not in told
    assert set(vote) == {"pair", "voter", "at_ms"}
    assert admin.get(f"{path}/next", voter="ann")["done"] == 1
    taken = admin.ask("DELETE", f"{path}/votes/p0", params={"voter": "ann"}).json()
    assert taken == {"taken_back": True}
    assert admin.get(f"{path}/next", voter="ann")["done"] == 0


def test_a_result_names_the_models_and_says_how_sure_it_is(admin: Admin, path: str) -> None:
    for number in range(4):
        side = "right" if number % 2 else "left"
        for voter in ("ann", "bob"):
            admin.post(f"{path}/votes", pair=f"p{number}", voter=voter, preferred=side)
    found = admin.get(path)
    assert (found["a"], found["b"], found["votes"]) == ("acme/secret@1.0", "acme/secret@1.1", 8)
    assert (found["preference"]["b_wins"], found["preference"]["a_wins"]) == (4, 0)
    assert "neither is certainly preferred" in found["preference"]["text"]
    assert found["agreements"] == [{"judges": ["ann", "bob"], "pairs": 4, "share": 1.0, "kappa": None}]
    assert found["comparison"] in [one["comparison"] for one in admin.get("/ballots", tenant="acme")["ballots"]]
    assert admin.ask("DELETE", path).json() == {"taken_down": True}
    assert admin.refused("GET", path)[0] == 404


def test_what_is_no_vote_is_refused(admin: Admin, path: str) -> None:
    whole = {"pair": "p0", "voter": "ann", "preferred": "left"}
    for change, param in (({"preferred": "up"}, "preferred"), ({"voter": ""}, "voter"), ({"side": "a"}, "side")):
        status, error = admin.refused("POST", f"{path}/votes", json={**whole, **change})
        assert (status, error["param"]) == (400, param)
    assert admin.refused("POST", f"{path}/votes", json={**whole, "pair": "p9"})[0] == 404
    assert admin.refused("GET", "/ballots?after=x")[0] == 400


def test_a_gateway_that_counts_votes_loads_no_numpy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMPY], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "B is preferred in" in done.stdout) == (0, True), done.stderr
