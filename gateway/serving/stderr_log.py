"""Where processes that serve or lead write what happens to them."""

from __future__ import annotations

import logging


def log_to_stderr() -> None:
    """Our own log from INFO on; of libraries that speak of every call or migration only warnings."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
