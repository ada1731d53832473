"""A small simulated campaign and a small lab campaign, each with a data directory of its own."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab_kit import lab

from flows import quiet
from flows import settings as machine
from flows.cli import main
from flows.session import Session

REPO = Path(__file__).resolve().parents[2]

CAMPAIGN = """\
campaign: small
evaluator: physics
seed: 3
space:
  speed_rpm: {low: 1000, high: 2000, step: 25}
  time_h: {low: 0.5, high: 12, step: 0.25}
  sse: [LPSCl, LGPS]
fixed: {active: S, active_wt_pct: 22.75}
protocol: {loading_mg_cm2: 4, current_mA_cm2: 0.67, cycles: 100}
objectives:
  - {outcome: discharge_capacity_cycle_100_mAh_g_composite, goal: max}
budget: {trials: 6, batch: 3}
history: published_trials.csv
"""


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store whose migrations have run: they take ten seconds, so they run once."""
    from review.projection import Projection

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Projection(f"sqlite:///{path}")._client.search_experiments(max_results=1)
    return path


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_mlflow: Path) -> Path:
    """An empty data directory that the settings point to."""
    return _data_dir(tmp_path, monkeypatch, empty_mlflow)


def _data_dir(place: Path, monkeypatch: pytest.MonkeyPatch, empty_mlflow: Path) -> Path:
    folder = place / "data"
    folder.mkdir()
    for suffix in ("", "-wal", "-shm"):
        if empty_mlflow.with_name(empty_mlflow.name + suffix).exists():
            shutil.copy(empty_mlflow.with_name(empty_mlflow.name + suffix), folder / f"mlflow.db{suffix}")
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(folder))
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "MIXWRIGHT_LEDGER_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in quiet.variables(machine.load()).items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def write_campaign(tmp_path: Path, data_dir: Path) -> Callable[..., Path]:
    """Write the small campaign with replacements; the published history lies beside it."""
    del data_dir

    def write(*changes: tuple[str, str], published: int | None = FEW_PUBLISHED) -> Path:
        return _written(tmp_path, changes, published)

    return write


FEW_PUBLISHED = 12
"""Published trials beside a test's campaign: each costs a run in MLflow; None is all of them."""


def _written(folder: Path, changes: tuple[tuple[str, str], ...], published: int | None) -> Path:
    history = (REPO / "examples/published_trials.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    names = list(dict.fromkeys(line.split(",")[0] for line in history[1:]))[:published]
    kept = [line for line in history[1:] if line.split(",")[0] in names]
    (folder / "published_trials.csv").write_text("".join([history[0], *kept]), encoding="utf-8")
    text = CAMPAIGN
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@dataclass(frozen=True)
class Finished:
    """The small campaign after `mixwright run --no-prefect`, and what that printed."""

    folder: Path
    code: int
    out: str
    err: str

    def copy_to(self, folder: Path) -> Path:
        """The campaign file of a copy that may be worked on."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return folder / "campaign.yaml"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Finished:
    """One run to the budget for all tests that begin where it ends."""
    folder = tmp_path_factory.mktemp("finished")
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        _data_dir(folder, patch, empty_mlflow)
        patch.setattr(sys, "argv", ["mixwright", "run", str(_written(folder, (), FEW_PUBLISHED)), "--no-prefect"])
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    return Finished(folder, code, out.getvalue(), err.getvalue())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A new lab campaign, and the working directory in its folder."""
    session = lab(tmp_path / "bench", monkeypatch)
    monkeypatch.chdir(tmp_path / "bench")
    return session


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Call the command line in this process: exit code, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mixwright", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
