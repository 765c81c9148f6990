"""One writer, many readers: the controller changes engines, workers mirror what it publishes and serve from the
mirror.

* Leadership is one row, three seconds long, with a token that only grows (`registry/fleet/leadership.py`). Every
  write that a controller makes for a swap is fenced by its token, and a holder whose clock says that its term may be
  over changes nothing on engines.
* A name is unloaded when every live worker has confirmed a view without it and counts no request on it. A worker pins
  a name in the same turn of the loop in which it looked it up, so its next report has it. A worker that the registry
  knows and that is not linked blocks unloading; so does a database that is away.
* A successor harms nothing. Workers keep the old mirror of an engine until the new controller has looked at it. It
  finds what lies on the engines by the folders they were read from: names that workers vouch for were proven, the
  others are proven before they get traffic, what nobody knows is unloaded.
* An adapter is called `a-<digest16>-<term>-<n>` on an engine, and no name is ever used twice on a boot: vLLM compares
  LoRA requests by name, so a reused one mixes tenants or kills the engine. The term's token keeps two controllers
  apart; `n` starts at the boot's age in milliseconds, which covers a database that was thrown away.
* The set of engines may change while it serves. Sources declare engines (`sources.py`: the settings, and the rows that
  operators add), each round reads them, and what is declared is published whole (`Engines`), so that every worker
  knows the same set. One that is declared no more takes no new requests, and is forgotten when every live worker has
  confirmed that and counts no request on it (`departures.py`). A discovery of engines is one more source.
* Homes are by weighted rendezvous (`homes.py`), so every process comes to the same order. An adapter has one home for
  each 32 requests that it has in flight on average (`demand.py`), and gives one up when half of that is left. What
  has traffic is loaded first, then what aliases point at, as far as there is room.
* Places are counted by us (`max_cpu_loras`), because vLLM never refuses and evicts what it likes. One is kept free,
  and only a swap may use it: so old and new fit beside each other. Files of a materialised adapter are read-only, in
  a folder named by digest, and never deleted: vLLM re-reads them, and dies if it cannot.
* Seats are counted by us (`line.py`): what an engine would have wait, as it runs --max-num-seqs requests, waits in the
  workers, and the tenant that has least for its weight is next. Who needs several at once has them collected
  (`collected.py`). The controller tells workers their shares.
* Slots are counted by us too (`slots.py`): vLLM runs --max-loras adapters at a time, and a request is sent when its
  adapter is one of them. Whoever runs fewest is next, and one slot is kept for tenants that run none. A worker alone
  gives them out itself, else the controller does (`shared_slots.py`). A proof that no request waits for has one of a
  worker (`proof_slots.py`). Loads go by turns of tenants (`load_queue.py`), and room for one is made by the tenant
  that holds most (`eviction.py`).
* States of an engine: `new`, `up`, `slow` (missed a check, may be busy), `draining` (by order), `hung` (requests on
  it, no step and no byte for `SWITCHYARD_ENGINE_HUNG_AFTER_S`, and a probe that is not answered), `down`, `starting`
  (it answers again, and is being met: requests wait for it as for a cold load, when no other engine serves their
  base), `refused` (a version or a base that must not serve). Workers give up what runs on a hung or dead engine:
  unbegun requests go elsewhere, begun streams end with an error event.
* Whose fault is a refusal? (`court.py`, its table says what follows from what.) An engine's word against an adapter
  counts when the engine proves another one that is known to be good, and a version is quarantined when no engine that
  works proves it. An engine that fails what others proved is refused; before it takes traffic on a new boot it proves
  one known-good adapter.
* And of a request? (`gateway/dispute.py`, `trials.py`.) A refusal or failure before the first byte whose reason we do
  not know is asked of a second engine, at most 16 times a minute for a tenant and engine in which it agrees. The
  controller then asks the first a question of our own, as clients do, and an engine that refuses that is refused; so
  is one that does so before it takes traffic on a boot. A chat counts where the base is known to have a template.
* The base is recognised: an engine's answers to the base's fingerprint must lie within half a nat of the registered
  ones. Its chat template is recognised too: what it makes of a few conversations (`renderings.py`) must be the base's
  own token ids, as proofs go by ids and would pass under any template.
* What a leader does again and again is a list of duties (`duties/`), done in rounds. One that fails is shown
  (`GET /admin/v1/fleet`, `/readyz`, metrics) and done again with growing pauses, and the others go on.
* The controller keeps books (`books.py`): every probe is a row of the tenant `_system`, and each engine's counters of
  tokens are kept at the first and last moment of a boot and once a minute. `switchyard ledger reconcile`
  (`gateway/cost/reconcile.py`) holds the ledger against them; its docstring names every part of the difference.
* A worker that was out of touch for a lease stops serving until it has caught up (`CatalogWatch.lapsed`), because a
  swap no longer waits for it.
"""
