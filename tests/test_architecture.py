"""What may import what: by contract, and as seen from outside in the processes that people start."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from registry.schema import SUBJECTS
from registry.service import Registry
from registry.settings import RegistrySettings
from switchyard.command_line import COMMANDS
from tests.support.loaded import LOADED, ROOT, loaded_by, loaded_by_each
from tests.support.migrated import migrated

PACKAGES = ("dashboard", "gateway", "loadtest", "registry", "switchyard", "telemetry", "tests", "trainer")
HEAVY = {"torch", "numpy", "transformers", "peft", "trl", "datasets", "vllm"}
OURS = {"gateway", "trainer", "loadtest", "dashboard"}
NOT_FOR_HELP = HEAVY | {"sqlalchemy", "alembic", "obstore", "fastapi", "uvicorn", "httpx"}
HELP_CPU_S = 1.0
"""Ten times what it takes, so that only a heavy import is told from a busy machine."""

RUN = f"""
import json, sys
sys.argv = ["switchyard", *sys.argv[1:]]
import switchyard
try:
    switchyard.main()
except SystemExit:
    pass
{LOADED}
"""
Loaded = dict[tuple[str, ...], set[str]]


def test_packages_import_only_what_the_contracts_allow() -> None:
    # In a process of its own: it configures logging, and disables every logger of ours.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_empty_but_what_makes_a_package() -> None:
    """A redirection that went wrong leaves one, and nobody asks whose it is."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    files = [ROOT / name for name in tracked.stdout.split("\0")[:-1]]
    empty = {path.name for path in files if path.is_file() and path.stat().st_size == 0}
    assert empty <= {"__init__.py", "py.typed"}


def test_what_is_vllms_own_stands_in_its_folder_and_is_reached_by_its_kind() -> None:
    """Its URLs, metrics and words; who starts one, or asks about one before there is a fleet, names it."""
    folder = ROOT / "gateway" / "engines" / "vllm"
    may_name_it = {"gateway/engines/kinds.py", "gateway/up.py", "gateway/checks.py"}
    own = re.compile(r"load_lora_adapter|vllm:|EngineCore|^/(?:version|tokenize|detokenize)$")
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        if folder in path.parents:
            continue
        name, tree = str(path.relative_to(ROOT)), ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gateway.engines.vllm"):
                assert name in may_name_it, f"{name} imports {node.module}"
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                assert "\n" in text or not own.search(text), f"{name}:{node.lineno} knows {text!r}"


def test_a_gateway_process_never_imports_what_only_training_needs() -> None:
    assert loaded_by(f"import json, sys, gateway.app, gateway.serving.one_process\n{LOADED}") & HEAVY == set()


def test_a_gateway_does_not_hold_in_memory_what_it_may_never_need() -> None:
    """The store of shared limits, what prints tables, and what operators alone ask for: tens of MB in every process."""
    unwanted = {"valkey", "rich", "pygments", "alembic", "gateway.api.admin.router", "gateway.cost.report"}
    assert loaded_by(f"import json, sys, gateway.app\n{LOADED}") & unwanted == set()


def test_what_reads_large_bodies_imports_nothing_that_asks_a_database_or_an_engine() -> None:
    asks = {"sqlalchemy", "httpx", "fastapi", "pydantic"}
    assert loaded_by(f"import json, sys, gateway.clerk_process\n{LOADED}") & asks == set()


def test_the_list_of_commands_imports_nothing_but_the_command_line() -> None:
    assert loaded_by(RUN, "--help") & (NOT_FOR_HELP | OURS | {"pydantic"}) == set()


@pytest.fixture(scope="module")
def helps(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """What the help of each command imports."""
    cases = [(command, "--help") for command in COMMANDS]
    return loaded_by_each("import switchyard", RUN, cases, tmp_path_factory.mktemp("helps"))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_imports_nothing_that_it_works_with(helps: Loaded, command: str) -> None:
    assert helps[command, "--help"] & (NOT_FOR_HELP | OURS) == set()


READS = {"alembic", "mako", "obstore", "fastapi", "starlette", "uvicorn", "huggingface_hub", "safetensors", "pygments"}
READS |= HEAVY | {"httpx", "prometheus_client", "valkey", "psycopg", "trainer", "loadtest"}
READS |= {"rich.console", "rich.table", "rich.text"}
"""What no command needs that only reads the registry: each would cost it tens of milliseconds."""


READING = (
    *("tenants list", "keys list", "adapters list", "swaps list", "limits list", "limits budgets", "tariff list"),
    *("usage", "cost report", "base list", "explain acme/triage --key sk-none"),
)


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """What each of these commands imports, on a registry that is there."""
    folder = tmp_path_factory.mktemp("readings")
    with Registry.open(RegistrySettings(state_dir=migrated(folder / "state"))) as registry:
        registry.tenants.create("acme")
        registry.tenants.create_key("acme")
    cases, settings = [tuple(one.split()) for one in READING], {"SWITCHYARD_STATE_DIR": str(folder / "state")}
    return loaded_by_each("import switchyard, registry.service", RUN, cases, folder, settings)


@pytest.mark.parametrize("command", READING)
def test_a_command_that_reads_the_registry_imports_what_it_needs_and_no_more(readings: Loaded, command: str) -> None:
    assert readings[tuple(command.split())] & READS == set()


def test_a_command_that_reads_maps_the_tables_of_its_subject_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(tmp_path))
    migrated(tmp_path)
    rows = {name for name in loaded_by(RUN, "tenants", "list") if name.startswith("registry.") and "rows" in name}
    assert rows == {"registry.tenants.rows"}


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """What the tables of each subject bring. Who misses one that its foreign keys point at has failed."""
    find = "[key.column for table in Base.metadata.tables.values() for key in table.foreign_keys]"
    code = f"from importlib import import_module\nBase = import_module(f'registry.{{sys.argv[1]}}.rows').Base\n{find}"
    cases = [(subject,) for subject in SUBJECTS]
    return loaded_by_each("import registry.tables", f"{code}\n{LOADED}", cases, tmp_path_factory.mktemp("subjects"))


def rows_in(loaded: set[str]) -> set[str]:
    return {name for name in loaded if name.startswith("registry.") and name.endswith(".rows")}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_tables_of_one_subject_bring_those_that_their_foreign_keys_point_at(subjects: Loaded, subject: str) -> None:
    assert f"registry.{subject}.rows" in rows_in(subjects[subject,])


ASKING = ("fleet", "engines list", "residency", "quarantine list")


@pytest.fixture(scope="module")
def askings(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """What each of these commands imports before a gateway that is not there."""
    folder = tmp_path_factory.mktemp("askings")
    (folder / "admin-key").write_text("sk-admin-" + "x" * 40)
    cases = [(*one.split(), "--url", "http://127.0.0.1:9") for one in ASKING]
    return loaded_by_each("import switchyard", RUN, cases, folder, {"SWITCHYARD_STATE_DIR": str(folder)})


@pytest.mark.parametrize("command", ASKING)
def test_a_command_that_asks_the_gateway_brings_no_database(askings: Loaded, command: str) -> None:
    unwanted = HEAVY | {"sqlalchemy", "alembic", "obstore", "fastapi", "uvicorn", "huggingface_hub"}
    assert askings[*command.split(), "--url", "http://127.0.0.1:9"] & unwanted == set()


def test_garbage_is_collected_again_when_a_command_has_imported_what_it_needs() -> None:
    run = f"import atexit, gc\natexit.register(lambda: print(gc.isenabled(), file=sys.stderr))\n{RUN}"
    done = subprocess.run(
        [sys.executable, "-c", run, "tenants", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    assert done.stderr == "True\n"


def test_help_is_quick() -> None:
    before = os.times()
    loaded_by(RUN, "--help")
    after = os.times()
    spent_s = after.children_user - before.children_user + after.children_system - before.children_system
    assert spent_s < HELP_CPU_S


def test_what_is_named_once_for_a_file_stands_above_what_uses_it() -> None:
    for folder in PACKAGES:
        for file in (ROOT / folder).rglob("*.py"):
            late = constants_below_their_users(ast.parse(file.read_text()))
            assert not late, f"{file.relative_to(ROOT)}: {', '.join(late)}"


def constants_below_their_users(module: ast.Module) -> list[str]:
    """Those that could stand above: that are made of no function or class before them."""
    defined, used, late = set[str](), set[str](), list[str]()
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            used |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
            if {one.id for one in ast.walk(node.value) if isinstance(one, ast.Name)} & defined:
                defined |= names
            else:
                late += sorted(name for name in names & used if name.isupper())
    return late
