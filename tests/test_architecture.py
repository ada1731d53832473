"""The rooms: imports point one way, and our `mlflow/` folder never hides the library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


def test_imports_point_one_way() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_our_mlflow_folder_holds_no_code() -> None:
    assert not list((REPO / "mlflow").rglob("*.py"))


def test_the_library_is_imported_from_the_repo_root() -> None:
    code = "import mlflow; assert mlflow.__version__ == '3.17.2', mlflow.__file__"
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True)
    import mlflow

    assert "site-packages" in str(mlflow.__file__)


def test_an_installed_copy_stands_alone(tmp_path: Path) -> None:
    """A wheel, unpacked elsewhere, imports, and mlflow there is still the library."""
    build = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(tmp_path),
    ]
    done = subprocess.run([*build, str(REPO)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import campaign.materials, flows.cli, review.projection, mlflow, models.facts\n"
        "assert campaign.materials.__file__.startswith(sys.argv[1]), campaign.materials.__file__\n"
        "assert 'LPSCl' in campaign.materials.load().electrolytes\n"
        "assert mlflow.__version__ == '3.17.2'\n"
        "from store import Ledger; Ledger.open(sys.argv[1] + '/ledger.db', create=True)"
    )
    subprocess.run([sys.executable, "-I", "-c", code, str(tmp_path)], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    "word", ["import pickle", "joblib", "torch.load(", "yaml.load(", "read_pickle", "allow_pickle", "eval(", "exec("]
)
def test_data_is_never_loaded_as_code(word: str) -> None:
    rooms = ("campaign", "models", "surrogate", "store", "ingest", "review", "flows", "mixwright")
    for room in rooms:
        for path in (REPO / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8").replace(".eval(", "")
            assert word not in text, f"{path}: {word}"
