"""The schema: what migrations build is what the models say, twice is once, and failure leaves nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from registry.db import Database
from registry.errors import InvalidInput, RegistryError
from registry.prices.baselines import Baselines
from registry.schema import whole_schema
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.migrations import configured
from tests.support.program import running

ROOT = Path(__file__).parents[2]
OPEN = "import sys; from pathlib import Path; from registry.db import Database; Database(sys.argv[1]).migrate()"


SIDE_BY_SIDE = (
    "INSERT INTO tenants VALUES ('acme', false, 1)",
    "INSERT INTO base_models VALUES ('sha256:b', 'tiny', '{}', 1)",
    "INSERT INTO adapters VALUES (1, 'acme', 'triage', 1)",
    "INSERT INTO versions VALUES (1, 1, 1, 0, 'sha256:m', 'sha256:b', '{}', '{}', NULL, 1, false)",
    *(
        "INSERT INTO splits (id, adapter_id, alias, salt, arms, started_at_ms) "
        f"VALUES ({id_}, 1, '{alias}', '', '[]', 1)"
        for id_, alias in ((1, "production"), (2, "production"), (3, "canary"))
    ),
    *(
        "INSERT INTO swaps (id, adapter_id, alias, expected_etag, to_version_id, state, detail, actor, reason, "
        f"requested_at_ms) VALUES ({id_}, 1, 'production', 0, 1, 'requested', '{{}}', 'me', '', 1)"
        for id_ in (1, 2)
    ),
)
STOPPED = (
    "INSERT INTO tenants (name, allow_unknown_fields, shadow_consent, created_at_ms) VALUES ('acme', false, false, 1)",
    "INSERT INTO base_models (digest, name, spec, created_at_ms) VALUES ('sha256:b', 'tiny', '{}', 1)",
    "INSERT INTO adapters (id, tenant, name, created_at_ms) VALUES (1, 'acme', 'triage', 1)",
    "INSERT INTO versions (id, adapter_id, major, minor, manifest_digest, base_digest, facts, lineage, "
    "quarantined_by_machine, created_at_ms) VALUES (1, 1, 1, 0, 'sha256:m', 'sha256:b', '{}', '{}', false, 1)",
    *(
        "INSERT INTO experiments (id, adapter_id, alias, name, state, plan, salt, step, decisions, actor, "
        f"created_at_ms, ended_at_ms) VALUES ({id_}, 1, 'production', '{name}', '{state}', '{{}}', '', 0, 1, 'me', 1, "
        f"{ended})"
        for id_, name, state, ended in (
            (1, "harmed", "rolled_back", 9),
            (2, "stopped", "rolled_back", 9),
            (3, "kept", "inconclusive", 9),
            (4, "waits", "inconclusive", "NULL"),
            (5, "stopping", "running", "NULL"),
        )
    ),
    *(
        "INSERT INTO experiment_decisions (experiment_id, seq, at_ms, kind, from_state, to_state, document, digest) "
        f"VALUES ({id_}, {seq}, 1, '{kind}', 'running', '{state}', '{{}}', '')"
        for id_, seq, kind, state in (
            (1, 1, "stop", "running"),
            (1, 2, "rollback", "rolled_back"),
            (2, 1, "stop", "rolled_back"),
            (3, 1, "stop", "inconclusive"),
            (4, 1, "inconclusive", "inconclusive"),
            (5, 1, "stop", "rolled_back"),
        )
    ),
)
"""The first was to be stopped too, and what was asked for failed."""
STOPPING = (
    "INSERT INTO swaps (id, adapter_id, alias, expected_etag, to_version_id, state, detail, actor, reason, "
    "requested_at_ms) VALUES (1, 1, 'production', 0, 1, 'requested', :detail, 'me', '', 1)"
)
TRIGGERS = {
    "sqlite": "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY 1",
    "postgresql": "SELECT trigger_name, event_object_table, event_manipulation || action_timing || action_statement "
    "FROM information_schema.triggers ORDER BY 1, 3",
}
INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1",
    "postgresql": "SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
}


def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def db(empty_url: str) -> Iterator[Database]:
    db = Database(empty_url)
    yield db
    db.close()


def triggers(db: Database) -> list[str]:
    with db.engine.connect() as connection:
        return [str(tuple(row)) for row in connection.execute(text(TRIGGERS[db.engine.dialect.name]))]


def indexes(db: Database) -> dict[str, str]:
    with db.engine.connect() as connection:
        return {row.name: row.sql for row in connection.execute(text(INDEXES[db.engine.dialect.name]))}


def schema(db: Database) -> list[str]:
    found = inspect(db.engine)
    tables = {name: found.get_columns(name) for name in found.get_table_names()}
    columns = [
        f"{name}.{one['name']} {one['type']!r} {one['nullable']}" for name in sorted(tables) for one in tables[name]
    ]
    return [*columns, *triggers(db), *map(str, indexes(db).items())]


def test_a_fresh_database_is_what_the_models_say(db: Database) -> None:
    db.migrate()
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, whole_schema()) == []
    assert db.catalog_revision() == 0


def test_an_index_over_unfinished_rows_leaves_the_finished_ones_out(db: Database) -> None:
    db.migrate()
    partial = {name for name, sql in indexes(db).items() if "WHERE" in sql and "IS NULL" in sql}
    assert partial == {
        "uq_engine_spans_open",
        "uq_shadows_running",
        "uq_splits_running",
        "uq_swaps_running",
        "ix_webhook_deliveries_due",
        "ix_training_jobs_unfinished",
        "ix_experiment_units_unfolded",
        "ix_experiment_feed_waiting",
        "ix_pair_verdicts_waiting",
    }


def test_migrating_twice_changes_nothing(db: Database) -> None:
    db.migrate()
    before = schema(db)
    db.migrate()
    assert schema(db) == before


def test_a_folder_that_is_not_there_is_made_for_the_database(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "registry.db"
    with closing(Database(url(path))) as db:
        db.migrate()
    assert path.exists()


def test_the_way_down_leaves_an_empty_database_and_the_way_up_works_again(db: Database) -> None:
    db.migrate()
    before = schema(db)
    with db.engine.execution_options(switchyard_write=True).begin() as connection:
        command.downgrade(configured(connection), "base")
    assert inspect(db.engine).get_table_names() == ["alembic_version"]
    assert triggers(db) == []
    db.migrate()
    assert schema(db) == before


def test_a_migration_that_fails_half_way_leaves_nothing(db: Database) -> None:
    with db.engine.begin() as connection:
        connection.execute(text("CREATE TABLE swaps (in_the_way INTEGER)"))
    with pytest.raises(RegistryError, match=r'(table|relation) "?swaps"? already exists'):
        db.migrate()
    assert inspect(db.engine).get_table_names() == ["swaps"]


def test_splits_and_swaps_that_ran_side_by_side_are_one_each_afterwards(db: Database) -> None:
    with db.engine.execution_options(switchyard_write=True).begin() as connection:
        command.upgrade(configured(connection), "0019")
        for statement in SIDE_BY_SIDE:
            connection.execute(text(statement))
    db.migrate()
    with db.read() as session:
        running = session.execute(text("SELECT id FROM splits WHERE ended_at_ms IS NULL ORDER BY id")).scalars().all()
        swaps = session.execute(text("SELECT id, state FROM swaps ORDER BY id")).all()
    assert running == [2, 3], "the newest of each alias"
    assert [tuple(swap) for swap in swaps] == [(1, "requested"), (2, "failed")], "the one that was asked for first"


def test_prices_of_apis_are_in_the_log_afterwards_and_its_chain_holds(db: Database) -> None:
    with db.engine.execution_options(switchyard_write=True).begin() as connection:
        command.upgrade(configured(connection), "0039")
        for id_, day in ((1, 1), (2, 5)):
            connection.execute(text(f"INSERT INTO api_prices VALUES ({id_}, 'gpté', {day}, {day}0, 3, 4, 'a list')"))
    db.migrate()
    log = Baselines(db, shipped=list)
    assert [(period.from_ms, period.nano("input"), period.nano("output")) for period in log.prices("gpté")] == [
        (1, 10, 4),
        (5, 50, 4),
    ]
    assert log.prices("gpté")[0].components["cached_input"].source == "a list"
    assert log.faults() == []


def test_experiments_that_were_stopped_say_so_afterwards_and_their_logs_are_as_they_were(db: Database) -> None:
    with db.engine.execution_options(switchyard_write=True).begin() as connection:
        command.upgrade(configured(connection), "0051")
        for statement in STOPPED:
            connection.execute(text(statement))
        connection.execute(
            text(STOPPING), {"detail": json.dumps({"experiment": {"kind": "stop", "to_state": "rolled_back"}})}
        )
    db.migrate()
    with db.read() as session:
        states = session.execute(text("SELECT name, state FROM experiments ORDER BY id")).all()
        logged = session.execute(
            text("SELECT to_state FROM experiment_decisions ORDER BY experiment_id, seq")
        ).scalars()
        ordered = session.execute(text("SELECT detail FROM swaps")).scalar_one()
    assert [tuple(one) for one in states] == [
        ("harmed", "rolled_back"),
        ("stopped", "stopped"),
        ("kept", "stopped"),
        ("waits", "inconclusive"),
        ("stopping", "running"),
    ]
    assert list(logged) == ["running", "rolled_back", "rolled_back", "inconclusive", "inconclusive", "rolled_back"]
    detail = json.loads(ordered) if isinstance(ordered, str) else ordered
    assert detail == {"experiment": {"kind": "stop", "to_state": "stopped"}}, "what a swap under way will make of it"


def test_processes_that_open_a_new_database_at_once_all_find_it_ready(empty_url: str) -> None:
    command_line = running(OPEN, empty_url)
    processes = [subprocess.Popen(command_line, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert errors == ["", "", ""]
    with closing(Database(empty_url)) as db:
        assert db.catalog_revision() == 0


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
