"""What tired people do at the command line: near misses are taken, doubts are said, what cannot be is refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lab_kit import AREA, MASS, cycler_csv, fill, sheet_of

from flows.session import Session

Run = Callable[..., tuple[int, str, str]]


def told(run: Run, *words: object, code: int = 0) -> str:
    found, out, err = run(*words)
    assert found == code and "Traceback" not in err, out + err
    return out + err


def test_a_batch_is_told_of_after_its_cell_and_then_more_of_it(bench: Session, run: Run, tmp_path: Path) -> None:
    told(run, "start", "T1", "--area-cm2", AREA)
    assert "is mixed, as asked" in told(run, "mixed", "T2")
    assert "nothing has changed" in told(run, "mixed", "T2")
    assert "noted speed_rpm 1450" in told(run, "mixed", "T1", "--speed-rpm", 1450)
    weighed = ("--weighed-active-g", 0.3, "--weighed-sse-g", 0.5, "--weighed-carbon-g", 0.2)
    assert "noted active_wt_pct 30" in told(run, "mixed", "t1", *weighed)
    said = told(run, "mixed", "T1", "--speed-rpm", 1500, code=1)
    assert "with speed_rpm 1450.0; to correct it: mixwright amend CAMPAIGN T0001-M1 --set speed_rpm=1500" in said
    assert bench.ledger.trial("T1").recipe["speed_rpm"] == 1450
    assert bench.ledger.trial("T1").recipe["active_wt_pct"] == pytest.approx(30)
    sheet = fill(sheet_of(bench, tmp_path / "s.xlsx"), {"trial": "T0003", "note": "later"})
    assert "taken in" in told(run, "ingest", "campaign.yaml", sheet)  # beside mixes with and without words


def test_a_cell_goes_by_the_lab_s_own_name(bench: Session, run: Run, tmp_path: Path) -> None:
    row = {"trial": "T0001", "state": "testing", "cell id": "K7", "channel": "3", "area (cm2)": AREA}
    told(run, "ingest", "campaign.yaml", fill(sheet_of(bench, tmp_path / "s.xlsx"), row))
    assert "T0001-M1-C1: active_mass_mg 3.2" in told(
        run, "amend", "campaign.yaml", "K7", "--set", f"active_mass_mg={MASS}", "--why", "weighed"
    )
    assert "T0001-M1-C1" in told(run, "history", "campaign.yaml", "K7")
    assert "T0001-M1-C1 is stopped" in told(run, "stop", "K7")
    assert "did you mean K7?" in told(run, "stop", "K77", code=1)


def test_two_cells_on_one_channel_and_a_test_that_ended_without_a_value_are_asked_about(
    bench: Session, run: Run, tmp_path: Path
) -> None:
    both = [{"trial": name, "state": "testing", "cell id": name[-1] * 3, "channel": 3} for name in ("T0001", "T0002")]
    done = {"trial": "T0003", "state": "completed"}
    said = told(run, "ingest", "campaign.yaml", fill(sheet_of(bench, tmp_path / "s.xlsx"), *both, done))
    assert "T0001-M1-C1 and T0002-M1-C1 run on channel 3 at once" in said
    assert "row 4: T0003 counts as completed, but nothing measured of it is here yet" in said
    wrong = fill(sheet_of(bench, tmp_path / "t.xlsx"), {"trial": "T0004", "state": "done"})
    said = told(run, "ingest", "campaign.yaml", wrong, code=1)
    assert "'done' is no state; right would be one of issued" in said and "completed (the test is over)" in said


def test_a_slip_of_the_unit_is_asked_about_or_refused(bench: Session, run: Run, tmp_path: Path) -> None:
    table = tmp_path / "T0001-M1-C1.csv"
    table.write_text("cycle;discharge capacity (mAh/g)\n1;1100,2\n2;1090,1\n")
    grams = ("ingest", "campaign.yaml", table, "--active-mass-mg")
    assert "is it the mass of active, in mg?" in told(run, *grams, MASS / 1000)
    for mass in (MASS, MASS / 1000, MASS):  # forth and back again
        assert "2 cycles reckoned again" in told(run, *grams, mass)
    assert "asks for" in told(run, "start", "T2", "--active-mass-mg", 32, "--area-cm2", AREA)
    told(run, "ingest", "campaign.yaml", cycler_csv(tmp_path / "T0002-M1-C1.csv", [3.0, 2.9, 2.8]))
    cycle = ("amend", "campaign.yaml", "T2-M1-C1", "--cycle", 2, "--why", "x", "--set")
    assert "coulombic efficiency (ce_out_in) of 967%" in told(run, *cycle, "discharge_capacity_mAh=29", code=1)
    assert "then has a coulombic efficiency (ce_out_in) of 200%" in told(run, *cycle, "discharge_capacity_mAh=6")
    record = bench.ledger.cycling("bench").set_index(["subject", "cycle"])
    assert "flag: cycle 2" in record.loc[("T0002-M1-C1", 2), "flags"]
    told(run, *cycle, "discharge_capacity_mAh=2.9")
    record = bench.ledger.cycling("bench").set_index(["subject", "cycle"])
    assert record.loc[("T0002-M1-C1", 2), "flags"] is None or record["flags"].isna().loc[("T0002-M1-C1", 2)]
