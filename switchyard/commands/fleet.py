"""`switchyard fleet`: controller, workers, engines and hot adapters on one screen, over the admin API."""

from __future__ import annotations

from switchyard.commands.engine_tables import print_engines, print_hot
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag, UrlOption


def fleet(url: str | None = UrlOption, json_output: bool = JsonFlag) -> None:
    """Show the fleet on one screen: controller, workers, engines, and the adapters that are asked for most."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        document = admin.get("/fleet")
    if json_output:
        print_json(document)
        return
    leader = document["controller"]
    say(f"controller {leader['holder'] or 'pid ' + str(leader['pid'])}, term {leader['token']}")
    if document["swaps"]:
        say(f"swaps in progress: {', '.join(map(str, document['swaps']))}")
    say()
    print_table(
        ("WORKER", "LINKED", "IN FLIGHT", "CATALOG", "AT"),
        (
            (one["id"], "yes" if one["linked"] else "no", one["in_flight"], one["catalog_revision"], one["url"])
            for one in document["workers"]
        ),
    )
    say()
    print_engines(document["engines"])
    say()
    print_hot(document["engines"], document["copies"])
