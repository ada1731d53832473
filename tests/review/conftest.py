from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from review_example import example_view

from review import CampaignView, quiet

# Before any test module imports mlflow, which reads some of these when it is imported.
os.environ.update(quiet.settings())


@pytest.fixture(scope="session")
def view() -> CampaignView:
    return example_view()


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store with MLflow's schema: its migrations take seconds, a copy of the file does not."""
    from mlflow import MlflowClient  # only now: some of the settings above are read when it is imported

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def uri(migrated_store: Path, tmp_path: Path) -> str:
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def fresh_uri(migrated_store: Path, tmp_path: Path) -> str:
    """A second empty store, to compare with."""
    shutil.copy(migrated_store, tmp_path / "fresh.db")
    return f"sqlite:///{tmp_path / 'fresh.db'}"
