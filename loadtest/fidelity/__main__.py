"""The command line of `python -m loadtest.fidelity`; see the package."""

from __future__ import annotations

import argparse
import json
import sys
from typing import get_args

from loadtest.fidelity import __doc__ as about
from loadtest.fidelity.comparison import compare, context_of
from loadtest.fidelity.exchanges import Target
from loadtest.fidelity.shapes import shapes
from loadtest.fidelity.shapes.shape import Need


def main() -> int:
    """Compare, print every difference; the exit status is 1 when one is unexplained."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.fidelity", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", required=True, help="URL of the engine, without /v1")
    parser.add_argument("--engine-model", help="what the engine calls the model; as the gateway by default")
    parser.add_argument("--engine-key", help="key that the engine wants")
    parser.add_argument("--gateway", required=True, help="URL of the gateway, without /v1")
    parser.add_argument("--model", required=True, help="what the gateway calls the model")
    parser.add_argument("--key", required=True, help="a tenant's key")
    parser.add_argument("--only", default="", help="names of shapes that have this text in them, such as 'chat:'")
    parser.add_argument("--without", action="append", default=[], choices=get_args(Need),
                        help="what the engine has not: pooling, if it generates; may be repeated")  # fmt: skip
    parser.add_argument("--explained", action="store_true", help="print explained differences too")
    given = parser.parse_args()
    engine = Target(given.engine.rstrip("/"), given.engine_model or given.model, given.engine_key)
    gateway = Target(given.gateway.rstrip("/"), given.model, given.key)
    chosen = [
        shape
        for shape in shapes(context_of(engine))
        if given.only in shape.name and not shape.needs & set(given.without)
    ]
    result = compare(engine, gateway, chosen)
    for line in result.lines(explained=given.explained):
        print(line)
    print(json.dumps(result.document()))
    return 1 if result.unexplained or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
