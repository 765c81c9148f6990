"""A look-alike of vLLM 0.32's OpenAI server over real HTTP, without a model.

It answers as vLLM answers (status codes, bodies, headers, adapter slots, death of the engine), deterministically and
fast, so that it serves three uses: the engine of the gateway's tests, the backend of the benchmarks, and a stand-in
for trying things by hand. `tests/contract` runs the same tests on it and on a real vLLM; where they differ, the mock
is wrong.

Beside vLLM's routes it has its own: `GET /mock/state`, `GET|POST /mock/faults` (see `Faults`).
"""
