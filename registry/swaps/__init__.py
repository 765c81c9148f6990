"""Promotes, rollbacks and ramps: what is asked, what was done, and what it did to traffic.

`adapters promote` writes a row. The controller executes it: `requested → preloading → verified → flipped → draining →
done`, or `failed` with the alias where it was. Verifying replays the effect proof: the trainer stored
log-probabilities of probe prompts with and without the adapter, and the engine must show at least half of that
difference. The alias moves in one transaction (compare-and-swap on its etag, one line of history), every worker
acknowledges the new catalog revision, requests on the old version finish, and it is unloaded later, when nothing has
used it for a while. It is loaded on its homes, as many as the version that it follows has. One home must succeed; an
engine that dies meanwhile fails no swap, one that refuses the version does.

A ramp (`adapters split`: a split that begins, changes its weights or ends) is a swap too. Every arm with traffic is
brought in before the first unit moves, the flip begins or ends the split instead of moving the alias (whose etag is
compared all the same), and workers acknowledge it. Nothing is drained: requests end on the arm that they began with.
A failed ramp leaves the split as it was. For one alias one swap runs at a time, whatever its kind.
"""
