"""A look-alike of vLLM 0.32's OpenAI server over real HTTP, without a model.

It answers as vLLM answers (status codes, bodies, headers, adapter slots, death of the engine), deterministically and
fast, so that it serves three uses: the engine of the gateway's tests, the backend of the benchmarks, and a stand-in
for trying things by hand. `tests/contract` runs the same tests on it and on a real vLLM; where they differ, the mock
is wrong.

The six worst traps of a real one are in it, without being asked:

* a name that is loaded again while requests of its first life run kills the engine at a later load (`worker.py`);
* so does an adapter that was put out of memory and whose folder is gone (`worker.py`);
* an unload frees neither memory nor slot: what is put out next may be a live adapter (`worker.py`);
* below 0.33, base tokens that share a batch with adapters get the last slot's adapter (`Engine.contaminant`);
* an adapter whose layers lie outside the model loads, and answers as the base (`Weights.inert`);
* a restart loses every adapter.

Beside vLLM's routes it has its own: `GET /mock/state`, `GET|POST /mock/faults` (see `Faults`).
"""
