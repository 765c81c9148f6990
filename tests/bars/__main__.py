"""Measure bars, write NAME.json for each, and exit with 1 when one did not hold. The last line is a bar's figures."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from tests.bars import bar, measure, names
from tests.live.installation import ROOT

RESULTS = ROOT / "loadtest" / "results"


def main() -> int:
    """The command line; returns the exit status."""
    known = names()
    listed = "\n".join(f"    {name:<10} {bar(name).__doc__.splitlines()[0]}" for name in known)
    parser = argparse.ArgumentParser(
        prog="python -m tests.bars",
        description=f"{__doc__}\n\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*known, "all"])
    parser.add_argument(
        "--scale", type=float, default=1.0, help="fraction of the load; bars that cannot shrink ignore it"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    # As make does: commands under measurement start with compiled modules, as those of a user do.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    held = True
    for name in known if arguments.name == "all" else [arguments.name]:
        print(f"{name}: measuring …", flush=True)
        result = measure(name, arguments.scale)
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        for sentence, holds in {**result["bars"], **result["speed"]}.items():
            print(f"  {'holds ' if holds else 'BROKEN'} {sentence}")
            held &= holds
        print(json.dumps(result["figures"]), flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
