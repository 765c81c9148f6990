"""What a gateway counts of its traffic, for Prometheus and for people.

```
 a request ─▶ a row of numbers in its worker ─▶ every 2 s, to the leader: what is new ─▶ sums and rings of its gateway
```

* A worker keeps only what the leader does not have yet: one row for each endpoint, status, engine, tenant and model, in
  the form of `layout.py`. To count a request is to look up one row and raise a dozen numbers in it.
* The leader adds up what workers of one gateway tell it. Whichever worker is asked asks the leader, after it has told
  of its own, so all give the same answer. Sums begin anew with a leader's term, which Prometheus takes for a restart.
* Of a worker that is killed the last 2 s are lost. These are no books: the ledger is.
* Tenants and models are unbounded, so few of them are named (`naming.py`), and the rest are `_other`.
"""
