"""`switchyard residency`: which version lives on which engine, over the admin API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from switchyard.commands.engine_tables import short
from switchyard.console import print_json, print_table
from switchyard.options import JsonFlag, UrlOption


def residency(url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """Show which version lives on which engine, with what it has in flight; `home`: it should live there."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        document = admin.pages("/residency", "rows")
    if json_output:
        print_json(document)
        return
    columns = document["engines"]
    print_table(
        ("VERSION", "HOMES", *(short(column) for column in columns)),
        (
            (row["version"], row["copies"], *(_cell(row["engines"].get(column)) for column in columns))
            for row in document["rows"]
        ),
        empty="no version is resident, and no alias points at one",
    )


def _cell(cell: Mapping[str, Any] | None) -> str | None:
    if cell is None:
        return None
    if cell["resident"]:
        return f"{cell['in_flight']} in flight" if cell["in_flight"] else "there"
    return "home" if cell["home"] else None
