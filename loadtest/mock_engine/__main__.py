"""Run the mock: `python -m loadtest.mock_engine --port 8100 --served-model-name base --max-loras 4`.

Every field of `Options` is a flag. Ends on SIGTERM, SIGINT, a crash fault, or two seconds after the engine "died".
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import fields

import uvicorn

from loadtest.mock_engine.engine import Engine
from loadtest.mock_engine.options import Options
from loadtest.mock_engine.server import config

CRASHED = 1


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Command line to `Options`."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.mock_engine", description=__doc__)
    defaults = Options()
    for field in fields(Options):
        flag, default = "--" + field.name.replace("_", "-"), getattr(defaults, field.name)
        if isinstance(default, tuple):
            parser.add_argument(flag, nargs="+", default=default)
        elif isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default)
        else:
            parser.add_argument(flag, type=str if default is None else type(default), default=default)
    values = vars(parser.parse_args(arguments))
    return Options(**{**values, "served_model_name": tuple(values["served_model_name"])})


def main() -> None:
    """Serve until told to stop."""
    options = parse_options()
    time.sleep(options.startup_s)
    engine = Engine(options, on_exit=lambda: os._exit(CRASHED))
    uvicorn.Server(config(options, engine)).run()


if __name__ == "__main__":
    main()
