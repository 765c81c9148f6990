"""Work of a duty in a process of its own, which yields to this one and can be ended anywhere."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE

from registry.children.asked import last_words
from registry.children.environment import environment_of
from registry.service import Registry

NICENESS = 10


class AsideFailed(Exception):
    """The process ended with this; nothing was lost by it, and it is tried again."""


async def run_aside(registry: Registry, *arguments: str, within_s: float) -> str:
    """What `python -m …` said in the end, with the registry of this process. Raises `AsideFailed`, and `TimeoutError`
    when it took longer, which ends it.
    """
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *("nice", f"-n{NICENESS}", sys.executable, "-m", *arguments),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=environment_of(registry),
        )
    )
    try:
        await asyncio.wait((starting,))
        async with asyncio.timeout(within_s):
            out, err = await starting.result().communicate()
    finally:
        child = await starting  # also who is cancelled while it starts has to end it, and to see its end
        if child.returncode is None:
            child.kill()
            await child.communicate()
    if child.returncode:
        raise AsideFailed(last_words(err, child.returncode))
    return out.decode().strip()
