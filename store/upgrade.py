"""Creating a ledger and bringing an older one to the schema of this code.

A new SQLite ledger is built beside its place and linked there when it is whole, so that a kill at any moment leaves either
no ledger or a complete one. An older one is copied first (`NAME.schema-0001.bak`), then upgraded in one transaction.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import sqlalchemy as sa

from campaign.errors import Refusal
from store import schema
from store.backup import copy_database
from store.connection import Connect, sqlite_engine, sync_folder, transaction, where

MIGRATIONS = Path(__file__).parent / "migrations"


def create(path: Path, connect: Connect) -> None:
    """Make an empty ledger at `path`; if another process made it meanwhile, theirs stands.

    Raises:
        Refusal: the folder is missing or cannot be written.
    """
    if not path.parent.is_dir():
        raise Refusal(f"{path}: its folder does not exist; make the folder first, or give another place")
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    try:
        new.touch(exist_ok=False)
        engine = sqlite_engine(new, connect).execution_options(place=str(path))
        with transaction(engine, write=True) as connection:
            migrate(connection)
        try:
            os.link(new, path)
        except FileExistsError:
            return
        sync_folder(path.parent)
    except OSError as error:
        raise Refusal(f"{path}: cannot be made: {error.strerror}; give a folder that you may write") from error
    finally:
        new.unlink(missing_ok=True)
        new.with_name(new.name + "-journal").unlink(missing_ok=True)


def revision(connection: sa.Connection) -> str | None:
    """Schema that a database has; None for an empty one.

    Raises:
        Refusal: it holds tables, but not a ledger's.
    """
    tables = sa.inspect(connection).get_table_names()
    if "alembic_version" in tables:
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    if tables:
        raise Refusal(
            f"{where(connection.engine)}: it is a database, but no ledger (its tables: {', '.join(tables[:3])}); check the path"
        )
    return None


def bring_up_to_date(engine: sa.Engine, path: Path | None, *, create_tables: bool) -> None:
    """Upgrade an older schema; nothing to do for the present one.

    Args:
        engine: the database.
        path: SQLite file, copied before an upgrade; None for a server, whose backups are its administrator's.
        create_tables: whether an empty database is to become a ledger.

    Raises:
        Refusal: the schema is newer than this code, or the database is no ledger.
    """
    with transaction(engine, write=False) as connection:
        found = revision(connection)
    if found == schema.HEAD:
        return
    if found is None and not create_tables:
        raise Refusal(
            f"{where(engine)}: it is an empty database, not a ledger; check the path, or restore a backup with "
            "`mixwright restore`"
        )
    if found is not None and found not in known_revisions():
        raise Refusal(
            f"{where(engine)}: its schema {found} is newer than this version of Mixwright knows ({schema.HEAD}); "
            "install the newer Mixwright again, or restore a backup that this version wrote"
        )
    with transaction(engine, write=True) as connection:
        if revision(connection) == schema.HEAD:  # another process upgraded it while we waited for the lock
            return
        if path is not None and found is not None:
            copy_database(path, free_name(path, found))
        migrate(connection)


def free_name(path: Path, found: str) -> Path:
    """Name for the copy that is made before an upgrade; an earlier copy is never overwritten."""
    name = path.with_name(f"{path.name}.schema-{found}.bak")
    number = 2
    while name.exists():
        name = path.with_name(f"{path.name}.schema-{found}.{number}.bak")
        number += 1
    return name


def known_revisions() -> list[str]:
    """Every schema that this code can open, oldest first."""
    return sorted(file.name.split("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def migrate(connection: sa.Connection, target: str = "head") -> None:
    """Run the migrations inside the connection's transaction. Alembic is imported only when there is something to do."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, target)
