"""The schema: what migrations build is what the models say, twice is once, and failure leaves nothing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from registry.db import MIGRATIONS, Database
from registry.errors import InvalidInput, RegistryError
from registry.schema import whole_schema
from registry.service import Registry
from registry.settings import RegistrySettings

ROOT = Path(__file__).parents[2]
OPEN = "import sys; from pathlib import Path; from registry.db import Database; Database(sys.argv[1]).migrate()"


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def schema(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()


def test_a_fresh_database_is_what_the_models_say(tmp_path: Path) -> None:
    db = Database(url(tmp_path / "registry.db"))
    db.migrate()
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, whole_schema()) == []
    assert db.catalog_revision() == 0
    db.close()


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "registry.db"
    db = Database(url(path))
    db.migrate()
    before = schema(path)
    db.migrate()
    db.close()
    assert schema(path) == before


def test_the_way_down_leaves_an_empty_database_and_the_way_up_works_again(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    db = Database(url(path))
    db.migrate()
    before = schema(path)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with db.engine.execution_options(switchyard_write=True).begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert inspect(db.engine).get_table_names() == ["alembic_version"]
    assert [row for row in schema(path) if row[0] == "trigger"] == []
    db.migrate()
    db.close()
    assert schema(path) == before


def test_a_migration_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE swaps (in_the_way INTEGER)")
    db = Database(url(path))
    with pytest.raises(RegistryError, match="table swaps already exists"):
        db.migrate()
    db.close()
    assert [row[1] for row in schema(path)] == ["swaps"]


def test_processes_that_open_a_new_database_at_once_all_find_it_ready(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    command_line = [sys.executable, "-c", OPEN, url(path)]
    processes = [subprocess.Popen(command_line, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert errors == ["", "", ""]
    assert Database(url(path)).catalog_revision() == 0


@pytest.mark.parametrize(
    "database_url", ["nonsense", "nosuchdatabase://user:hunter2@host/name"], ids=["no url", "unknown database"]
)
def test_a_url_that_is_no_database_is_refused_without_showing_a_password(database_url: str) -> None:
    with pytest.raises(InvalidInput, match="database_url cannot be used") as refused:
        Database(database_url)
    assert "hunter2" not in refused.value.message


def test_a_file_that_is_no_database_is_told_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"this is a letter, not a database; " * 100)
    with pytest.raises(RegistryError, match=r"registry\.db cannot be used: file is not a database"):
        Database(url(path)).migrate()


def test_a_state_folder_that_cannot_be_made_is_told_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(InvalidInput, match="SWITCHYARD_STATE_DIR"),
        Registry.open(RegistrySettings(state_dir=tmp_path / "file" / "state")),
    ):
        pytest.fail("it was opened")


def test_state_in_force_is_the_settings_url_or_a_file_in_the_state_folder(tmp_path: Path) -> None:
    here = RegistrySettings(state_dir=tmp_path)
    assert here.resolved_database_url == url(tmp_path / "registry.db")
    assert here.adapter_cache_dir == tmp_path / "adapters"
    assert RegistrySettings(database_url="sqlite:///x.db").resolved_database_url == "sqlite:///x.db"
