"""`/admin/v1`: what an operator may see and order. One router; each file of this folder adds its routes to it.

* A gateway imports and makes them when somebody first asks for one (`gateway/api/late_routes.py`).
* What is the operator's is on a listener of its own or takes the key (`AdminGate`): metrics, details of readiness and
  the description too. With `SWITCHYARD_ADMIN_LISTEN` each worker accepts from both sockets, and knows by the port who
  asks. `/docs` is a page made here (`gateway/api/description.py`), with nothing that a browser would fetch.
* The root key is nobody else's (`gateway/admin_key.py`): a setting, or a file of the state folder that is linked into
  place whole, so that processes which start at once agree. With it operators get keys of their own, whose hashes and
  roles are in the catalog. A key is checked before the body is read, and is an unknown one under `/v1`.
* What is ordered is in the audit log (`auditing.py`), whatever the route: before it is done, with each row that it
  changes in the transaction of the change (`registry/audit`), and with what came of it.
* It stays off the hot path: calls of the registry run in Starlette's thread pool and not in asyncio's, in which the
  catalog is kept current; big answers are paged and made into bytes in the thread.
* An engine is empty when every live worker has confirmed a view without it and none counts a request: `engines drain
  --wait` waits for that.
"""
