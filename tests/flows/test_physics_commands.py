"""The physics on the command line: its window, and rows of a file scored in their own units."""

import json
from pathlib import Path


def test_window_prints_best_band_ridge_and_calls_a_bound_a_bound(run) -> None:
    code, out, _ = run("window", "--draws", "24", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["evaluator"] == "physics"
    assert found["time_band_h"][0] <= found["time_h"] <= found["time_band_h"][1]
    assert {"speed_rpm", "time_h", "time_h_p05", "time_h_p95"} <= set(found["ridge"][0])
    code, out, _ = run("window", "--draws", "24")
    assert "simulated" in out
    assert "ridge of equivalents" in out
    assert ("bound" in out) == bool(found["bounds"])


def test_window_searches_speed_and_time_itself(run) -> None:
    code, _, err = run("window", "--speed-rpm", "1500")
    assert code == 1
    assert "--speed-rpm is what is searched" in err


def test_rows_of_a_file_are_scored_and_the_unknown_named(run, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "id,active,sse,speed_rpm,time_h,observable,cycle,relation,value,unit\n"
        "A,S,LPSBr,1800,4,discharge_areal_capacity,1,=,61,Ah/m2\n"
        "B,S,LPSF,1800,4,discharge_areal_capacity,1,<,5,mAh/cm2\n"
    )
    code, out, err = run("facts", "--rows", str(rows))
    assert code == 0
    assert "Ah/m2" in out
    assert "2 rows, 1 not modelled" in out
    assert "LPSF" in err
