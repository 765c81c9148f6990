"""Routes that are imported and made when somebody asks for one of them: those of the admin API are half of what a start
costs, and of what a process without an operator would hold in memory for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from fastapi import FastAPI
from starlette.routing import BaseRoute

ALWAYS = ("/v1/", "/healthz", "/readyz", "/metrics")
"""So begin the paths that are served without them."""
ADMIN = "admin"


class LateRoutes:
    """Of one application. What is asked for at any other path may be one of them, or be meant as one."""

    def __init__(self, web: FastAPI, make: Callable[[], Sequence[BaseRoute]]) -> None:
        """`make` takes a second, once, beside the event loop."""
        self._web = web
        self._make = make
        self._making = asyncio.Lock()
        self._are_there = False

    async def needed_for(self, path: str) -> None:
        """Return when the application has all routes that this path may be about."""
        if self._are_there or (path.startswith(ALWAYS) and ADMIN not in path):
            return
        async with self._making:
            if not self._are_there:
                self._web.router.routes.extend(await asyncio.to_thread(self._make))
                self._are_there = True
