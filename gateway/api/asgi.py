"""The three shapes of raw ASGI, and an extension of our server's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ON_DISCONNECT = "switchyard.on_disconnect"
"""In a scope's extensions: a function that takes one to call when the client goes, or None. Who has read the body need
not wait in a task of its own for that.
"""
ON_KNOWN = "switchyard.on_known"
"""Likewise: a function that takes the name of who has sent a valid key. Strangers' connections are the first to go."""
ON_HELD_BACK = "switchyard.on_held_back"
"""Likewise: a function that is told, by one to call when the client goes, that the answer comes late on purpose, and by
None that it comes now. Meanwhile nothing is kept of the body or read, and the connection goes before others.
"""
WRITE_NOW = "switchyard.write_now"
"""Likewise: a function that writes some more of a body, if nobody has to be waited for; whether it did."""
WriteNow = Callable[[bytes], bool]
