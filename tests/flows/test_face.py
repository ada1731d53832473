"""The public face: `import mixwright as mw` gives tables with units in the column names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from tests_flows_shared import LAB

import mixwright as mw


def test_everything_promised_is_there() -> None:
    for name in mw.__all__:
        assert getattr(mw, name) is not None
    with pytest.raises(AttributeError):
        mw.nothing  # noqa: B018 (the access is the test)


def test_a_campaign_in_python(write_campaign: Callable[..., Path], tmp_path: Path) -> None:
    c = mw.load(write_campaign(*LAB))
    assert c.best() is None
    proposed = c.propose(2)
    assert len(proposed) == 2 and {"speed_rpm", "reason", "predicted_mean"} <= set(proposed)
    trials = c.trials()
    assert list(trials.index[-2:]) == list(proposed.index)
    file = tmp_path / f"{proposed.index[0]}-M1-C1.csv"
    rows = "\n".join(f"{n},{6 - n / 100:.3f}" for n in range(1, 101))
    file.write_text("cycle,discharge capacity (mAh/cm2)\n" + rows + "\n")
    sentence = c.ingest(file, area_cm2=0.785)
    assert "cycles 1 to 100 of 100 planned" in sentence
    best = c.best()
    assert best is not None and best["p05"] <= best["mean"] <= best["p95"]
    assert c.report(tmp_path / "r.html").exists()
    assert len(c.plot("best_so_far").data)
    told = c.diagnostics()
    assert set(told) == {"sentences", "r2", "calibration", "sensitivity", "prior", "parity"}
    assert set(told["parity"]["trial_id"]) <= set(trials.index)


def test_simulate_takes_and_gives_a_table() -> None:
    recipes = pd.DataFrame({"speed_rpm": [2000.0, 400.0], "time_h": [5.0, 5.0], "cycles": [10, 10]}, index=["a", "b"])
    out = mw.simulate(recipes, draws=20)
    assert list(out.index) == ["a", "b"]
    column = "discharge_areal_capacity_cycle_1_mAh_cm2"
    assert out.loc["a", column] > out.loc["b", column]
    assert (out[f"{column}_p05"] <= out[f"{column}_p95"]).all()
    told = mw.predict(recipes, column, draws=20)
    assert (told["p05"] <= told["p95"]).all()


def test_importing_the_face_is_light() -> None:
    code = "import sys, mixwright; sys.exit(bool({'torch', 'mlflow', 'prefect'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("given", "kept"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_that_wait_sleep_unless_the_user_wants_otherwise(given, kept):
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = "import sys, os, mixwright; assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, env={**clean, **given}, capture_output=True, text=True
    )
    assert done.stdout.strip() == kept
