"""Puts together what keeps responses and conversations, as the settings want it."""

from __future__ import annotations

from collections.abc import Callable

from gateway.responses.archive import Archive
from gateway.responses.lookups import Lookups
from gateway.responses.quota import Most, Quota
from gateway.responses.runs import Runs
from gateway.responses.thoughts import Thoughts
from gateway.responses.writer import Writer
from gateway.settings import GatewaySettings
from registry.service import Registry


def archive_of(settings: GatewaySettings, registry: Registry, worker_id: str, running: Callable[[], int]) -> Archive:
    """The archive of one worker, of which `running` says how many requests are in flight."""
    responses = registry.responses
    runs = Runs(worker_id, responses.going_on)
    quota = Quota(responses.amounts, Most(settings.max_stored_records, settings.max_stored_bytes))
    writer, thoughts = Writer(responses.save, running), Thoughts(registry.keyring)
    return Archive(
        responses=responses,
        streams=registry.response_streams,
        conversations=registry.conversations,
        lookups=Lookups(),
        writer=writer,
        runs=runs,
        quota=quota,
        thoughts=thoughts,
        default_days=settings.response_days,
    )
