"""What a running cell promises is stored once with the result that it was made from, and never counted as measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lab_kit import AREA, MASS, capacity_csv, cycler_csv, lab, long_lab

from flows import evidence, outlook, people
from flows.choose import chooser
from flows.diagnosis import diagnosis
from flows.people import Act
from flows.session import Session, now
from flows.take_in import take_in as take
from flows.today import today


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    return lab(tmp_path / "bench", monkeypatch)


def test_a_prediction_is_stored_with_the_result_that_it_was_made_from(session: Session, tmp_path: Path) -> None:
    q = [3.0 * 0.98**n for n in range(20)]
    for trial, factor in ((1, 1.0), (2, 0.9)):
        take(session, cycler_csv(tmp_path / f"T000{trial}-M1-C1.csv", [factor * x for x in q]), by="Ada", area_cm2=AREA)
    running = tmp_path / "T0003-M1-C1.csv"
    take(session, cycler_csv(running, [0.8 * x for x in q[:6]], last_share=0.5), by="Ada", area_cm2=AREA)
    before = evidence.learnable(session.reader, session).trials
    made = outlook.foresee(session)
    assert [found.cell for found in made] == ["T0003-M1-C1"] and made[0].made_from == 6
    assert made[0].p05 < 0.8 * q[19] / AREA < made[0].p95
    stored = session.ledger.results("bench").iloc[-1]
    cycles = session.ledger.cycling("bench")
    source = cycles[cycles["subject"].eq("T0003-M1-C1") & cycles["cycle"].eq(6)].iloc[0]
    assert stored["provenance"] == "predicted" and stored["file"] == source["file"]
    assert json.loads(stored["note"])["result_seq"] == source["seq"]
    assert evidence.learnable(session.reader, session).trials == before
    seq = session.ledger.seq
    assert outlook.foresee(session) == [] and session.ledger.seq == seq
    assert "expected at cycle 20" in today(session).running[0]
    take(session, cycler_csv(running, [0.8 * x for x in q[:12]]), by="Ada")
    wide = made[0].p95 / made[0].p05
    later = outlook.foresee(session)[0]
    assert later.made_from == 12 and later.p95 / later.p05 < wide
    assert len(outlook.foreseen(session)) == 2 and len(outlook.latest(session)) == 1
    take(session, cycler_csv(running, [0.8 * x for x in q]), by="Ada")
    assert outlook.foresee(session) == [] and outlook.latest(session) == []


def test_a_prediction_stands_only_as_long_as_nothing_more_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = long_lab(tmp_path, monkeypatch)
    for cell, cycles in (("T0001-M1-C1", 10), ("T0003-M1-C1", 12)):
        take(session, capacity_csv(tmp_path / f"{cell}.csv", range(1, cycles + 1)), by="Ada", area_cm2=AREA)
    outlook.foresee(session)
    assert "12 of 20 cycles; expected at cycle 20" in today(session).running[1]
    running = capacity_csv(tmp_path / "T0003-M1-C1.csv", range(1, 17))
    take(session, running, by="Ada")
    assert [found.cell for found in outlook.latest(session)] == ["T0001-M1-C1"]
    lines = today(session).running
    assert "10 of 20" in lines[0] and "16 of 20" in lines[1] and "12 of 20" not in lines[1]
    outlook.foresee(session)
    take(session, capacity_csv(running, range(1, 25)), by="Ada")
    assert outlook.foresee(session) == []  # past the cycle that it would foresee
    found = today(session)
    assert len(found.running) == 1 and "T0001-M1-C1" in found.running[0] and "T0003-M1-C1" in found.stop[0]


def test_the_curve_so_far_stands_over_the_models_band(session: Session, tmp_path: Path) -> None:
    q = [3.0 * 0.98**n for n in range(6)]
    take(session, cycler_csv(tmp_path / "T0003-M1-C1.csv", q, last_share=0.5), by="Ada", area_cm2=AREA)
    outlook.foresee(session)
    plot = outlook.picture(session)
    assert set(plot.data["what"]) == {"measured", "model", "promised"}
    model = plot.data[plot.data["what"].eq("model")]
    assert (model["p05"] < model["p95"]).all() and model["cycle"].max() == 20
    assert plot.save(tmp_path / "running.png")[0].stat().st_size > 5000


def test_each_cell_has_the_band_of_what_it_was_really_made_of(session: Session, tmp_path: Path) -> None:
    """The first batch was mixed at 400 rpm by mistake, and one cell of the second holds half as much."""
    act = Act("Ada", now())
    people.mixed(session.ledger, "T0001-M1", act, done={"speed_rpm": 400.0}, weighed={}, details={})
    people.mixed(session.ledger, "T0001-M2", act, done={}, weighed={}, details={})
    for channel, (cell, mass) in enumerate(
        (("T0001-M1-C1", MASS), ("T0001-M2-C1", MASS), ("T0001-M2-C2", MASS / 2)), 1
    ):
        facts = {"area_cm2": AREA, "active_mass_mg": mass}
        people.start(session.ledger, cell, act, channel=str(channel), facts=facts)
        take(session, capacity_csv(tmp_path / f"{cell}.csv", range(1, 6 + channel)), by="Ada")
    bands = outlook.picture(session).data
    tops = bands[bands["what"].eq("model") & bands["cycle"].eq(20)].set_index("cell")["p95"]
    assert tops["T0001-M1-C1"] < 0.8 * tops["T0001-M2-C1"]
    assert tops["T0001-M2-C2"] < 0.8 * tops["T0001-M2-C1"]


def test_what_is_foreseen_of_a_running_cell_does_not_count_for_or_against_the_model(
    session: Session, tmp_path: Path
) -> None:
    q = [3.0 * 0.98**n for n in range(20)]
    for cell, factor in (("T0001-M1-C1", 1.0), ("T0001-M1-C2", 0.95), ("T0002-M1-C1", 0.9)):
        take(session, cycler_csv(tmp_path / f"{cell}.csv", [factor * x for x in q]), by="Ada", area_cm2=AREA)
    running = cycler_csv(tmp_path / "T0003-M1-C1.csv", [0.8 * x for x in q[:6]], last_share=0.5)
    take(session, running, by="Ada", area_cm2=AREA)
    reader = session.reader
    choice = chooser(session, reader)
    assert "T0003" in " ".join(choice.evidence.trials)
    found = diagnosis(session, reader, choice).parity
    assert found["trial_id"].to_list() == ["T0001", "T0001", "T0002"]
    assert found["evaluator"].to_list() == ["lab"] * 3
    assert found["repeated"].to_list() == [True, True, False]
