"""Children on nodes of a Ray cluster.

    worker ─ folder, signals ─▶ bridge: `python -m trainer.jobs.on_ray.bridge` ─ Ray ─▶ `RemoteJob`, an actor ─▶ child
    worker ◀─ JSON lines ────── bridge ◀─ lines, checkpoints, adapter ── Ray ───────────────┘

To its worker a bridge is a child as any other: it says the same lines, stops by the same signal, and dies with it. What
goes wrong with a cluster goes wrong in a bridge; the worker itself imports no Ray. A node needs this package with what
it trains with, and neither the registry nor a disk that is shared: all that a child gets and leaves goes through Ray.
"""
