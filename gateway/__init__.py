"""What serves: the gateway, the fleet's controller, and the commands that ask them."""

from __future__ import annotations

import sys

# httpx would import its command line, and with it rich, click and pygments: 5 MB in every process that serves.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
