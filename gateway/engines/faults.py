"""What can be wrong with an engine, whatever its kind.

EngineFault
├── Unreachable       no connection, timeout, 5xx of the transport: try again later
│   └── Silent        it took the connection and did not answer in time: busy, or hung
├── LoadingDisabled   started without VLLM_ALLOW_RUNTIME_LORA_UPDATING
├── NotListed         it says that it has loaded an adapter, and does not list it
├── NotVisible        the adapter's files cannot be seen from the engine's host
├── ProbeRefused      a question of ours was refused, or answered with no number: it does not say whose fault that is
├── CannotCompare     the engine cannot answer the base's half of a proof: it says nothing about the adapter
├── AdapterRejected   this engine's word against an adapter; `gateway.fleet.court` decides what it is worth
│   └── ProofBroken   and it takes its own earlier word back
└── Unintelligible    an answer that none of its kind gives
"""

from __future__ import annotations


class EngineFault(Exception):
    """Root of the tree."""


class Unreachable(EngineFault):
    """The engine cannot be talked to now."""


class Silent(Unreachable):
    """The engine's host listens, and no answer came in time."""


class LoadingDisabled(EngineFault):
    """The adapter routes are not mounted."""


class NotListed(EngineFault):
    """A load was answered with success, and the engine knows no such adapter."""


class NotVisible(EngineFault):
    """The engine's host has no such folder."""


class ProbeRefused(EngineFault):
    """The engine refused a probe, or computed no finite number."""


class CannotCompare(EngineFault):
    """The engine refuses the base's half of a proof, or computes no number for it."""


class AdapterRejected(EngineFault):
    """The engine read the adapter and refuses it, or does not apply it."""


class ProofBroken(AdapterRejected):
    """The engine showed the effect at the first probe before, and does not at all of them."""


class Unintelligible(EngineFault):
    """The answer is not one that engines of its kind give."""


FAILS = (AdapterRejected, CannotCompare, NotListed, NotVisible, LoadingDisabled)
"""What says that an engine cannot do with an adapter what it is asked; every other fault may be one of the moment."""
