"""What an engine is, and how one talks to it; nothing here knows of a fleet.

* `engine.py`: two records that travel whole, what an engine is declared to be and what is known of it now.
* `kind.py`: what a kind of engine must be able to do. `vllm/` is the first; its URLs, metrics and words stand there
  alone (a test in `tests/test_architecture.py` says so), and `kinds.py` has a line for each.
* `managed.py`: one engine in the controller's hands: whether it works (`health.py`), what lies on it (`residency.py`),
  what it turned out to be (`profile.py`), and whether it applies what it has loaded (`proving.py`).
* `address.py`: the one form of an engine's URL.
* `connection.py`: the sockets of the hot path; `transport.py`: httpx over such, for everything else.
"""
