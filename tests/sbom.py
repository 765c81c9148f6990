"""What the images are made of: `python -m tests.sbom` writes a CycloneDX document for each lock of an image into
var/sbom, and docs/licences.md.

Names, versions and hashes are the lock's; licences are what the installed packages say of themselves.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.support.on_demand import CYCLONEDX, ROOT

LOCKS = ("gateway", "trainer")
PAGE = ROOT / "docs" / "licences.md"
UNSTATED = "not read: it is installed on hosts with GPUs only"
SHORT = 60
"""Characters of a licence's name; longer ones are its text."""
TOP = """# Licences

Switchyard is under the Apache License 2.0. Its images contain these packages of others, under the licences that each
states itself. `make sbom` makes this page, and writes what each image is made of, with versions and hashes, as a
CycloneDX document into `var/sbom`.

| package | licence | image |
|---|---|---|
"""
VALIDATING = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(None if fault is None else str(fault))
"""


def locked(lock: str) -> dict[str, str]:
    """Name and version of each package in requirements/`lock`.txt."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    return dict(re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==(\S+)", text, re.M))


def licence_of(package: str) -> str | None:
    """What the installed package says; `None` when it is not installed, or says nothing."""
    try:
        about = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return None
    for field in ("License-Expression", "License"):
        for said in about.get_all(field) or ():
            if len(said) <= SHORT and "\n" not in said:
                return str(said)
    names = [one.rpartition(" :: ")[2] for one in about.get_all("Classifier") or [] if one.startswith("License :: ")]
    return " OR ".join(names) or None


def document_of(lock: str) -> dict[str, Any]:
    """The CycloneDX document of a lock, valid by the specification's schema. Raises CalledProcessError."""
    environment = {**os.environ, **CYCLONEDX.environment()}
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--pyproject", "pyproject.toml", "--sv", "1.6"]
    file = f"requirements/{lock}.txt"
    made = subprocess.run(
        [*command, "--output-reproducible", "--no-validate", "--of", "JSON", file],  # what becomes of it is, below
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=True,
        timeout=120,
    ).stdout
    document: dict[str, Any] = json.loads(made)
    for component in document["components"]:
        if (licence := licence_of(component["name"])) is not None:
            component["licenses"] = [{"license": {"name": licence}}]
    subprocess.run(
        [sys.executable, "-c", VALIDATING],
        input=json.dumps(document).encode(),
        env=environment,
        check=True,
        timeout=120,
    )
    return document


def page() -> str:
    """docs/licences.md."""
    names = {lock: locked(lock).keys() for lock in LOCKS}
    rows = [
        f"| {name} | {licence_of(name) or UNSTATED} | {', '.join(lock for lock in LOCKS if name in names[lock])} |"
        for name in sorted(set().union(*names.values()))
    ]
    return TOP + "\n".join(rows) + "\n"


def main() -> None:
    """Make the page, and a document an image."""
    CYCLONEDX.make()
    (folder := ROOT / "var" / "sbom").mkdir(parents=True, exist_ok=True)
    for lock in LOCKS:
        file = folder / f"{lock}.cdx.json"
        file.write_text(json.dumps(document_of(lock), indent=1) + "\n")
        print(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)
    PAGE.write_text(page())
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
