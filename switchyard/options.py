"""Options that several commands have."""

from __future__ import annotations

import typer

JsonFlag = typer.Option(False, "--json", help="Print one JSON document instead of text for people.")
LastLineJsonFlag = typer.Option(False, "--json", help="Make the last line of stdout one JSON document.")
"""Of commands whose libraries may print before it."""
MAX_PORT = 65_535
UrlOption = typer.Option(
    None,
    "--url",
    help="Where a gateway listens; default: the one that runs on this state folder, or by SWITCHYARD_HOST and _PORT.",
)
