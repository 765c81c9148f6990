"""What engines cost us, and when they were there.

* The log of costs (`log.py`, `store.py`): dated, append-only, chained by digests. A line is what an engine, a host, a
  pool, the trainer or every engine costs an hour from a date on, or that it costs nothing more.
* Spans (`spans.py`): when each engine was there. The leader writes them; what was before it did is made of the
  engines' readings and of usage, and is marked `derived`.
* Busy time (`busy.py`): of each engine and UTC day, the union of the intervals of attempts and of loads (`loads.py`).

What comes of it, the bill and who it falls to, is `gateway/cost/`.
"""
