"""Shared by all tests: helper modules lie beside the tests that use them most, and are found by their bare name."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in ("registry", "gateway"):
    sys.path.insert(0, str(Path(__file__).parent / folder))

pytest_plugins = ["gateway_fixtures"]
