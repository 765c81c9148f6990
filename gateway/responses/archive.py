"""What the path and the routes know of the state of Responses: what is kept of whom, and where to read and write it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.handoffs import Principal
from gateway.responses.lookups import Lookups
from gateway.responses.quota import Quota
from gateway.responses.runs import Runs
from gateway.responses.thoughts import Thoughts
from gateway.responses.writer import Writer
from registry.db import now_ms
from registry.responses.conversations import Conversations
from registry.responses.retention import since_ms
from registry.responses.store import StoredResponses
from registry.responses.streams import ResponseStreams


@dataclass(frozen=True, slots=True)
class Archive:
    """Of one process. What is the registry's blocks: it is asked through `lookups` and `writer`."""

    responses: StoredResponses
    streams: ResponseStreams
    conversations: Conversations
    lookups: Lookups
    writer: Writer
    runs: Runs
    quota: Quota
    thoughts: Thoughts
    default_days: int
    """How long things are kept of a tenant that has no setting of its own; 0: never stored."""

    def days(self, principal: Principal) -> int:
        """How long the tenant's are kept; 0: never stored."""
        own = principal.response_days
        return self.default_days if own is None else own

    def since_ms(self, principal: Principal) -> int:
        """When the oldest was made that is still there for this tenant, in milliseconds since the epoch."""
        return since_ms(self.days(principal), now_ms())

    async def close(self) -> None:
        """Write down what waits to be stored."""
        self.lookups.close()
        await self.writer.close()
