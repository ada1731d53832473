"""The first hours of a lab with the command line: what it prints before there is a result, and what it does not believe."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_kit import AREA, MASS, capacity_csv, cycler_csv, fill, sheet_of

from flows import inbox, tick
from flows.session import Session, open_session

Run = Callable[..., tuple[int, str, str]]


def test_init_makes_a_folder_and_says_so_to_who_gives_a_file_s_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("init", "lab.yaml")
    assert code == 1 and "lab.yaml is a name for a file" in err and "init lab\n" in err
    assert not list(tmp_path.iterdir())


def test_a_proposal_from_nothing_says_that_nothing_was_measured(bench: Session, run: Run) -> None:
    code, out, err = run("propose", "campaign.yaml", "-q", 2)
    assert code == 0 and "T0001" in out
    assert err == "nothing was measured in this space and protocol yet: the first recipes are spread over the space\n"


def test_who_asks_beyond_the_budget_gets_it_and_is_told(bench: Session, run: Run) -> None:
    path = bench.loaded.path  # four trials are open
    path.write_text(path.read_text().replace("trials: 12", "trials: 5"))
    assert "budget" not in run("propose", path, "-q", "5")[2]
    code, out, err = run("propose", path, "-q", "7", "--json")
    assert code == 0 and len(json.loads(out)) == 7
    assert "the budget of 5 trials is exceeded: 7 were asked for by now" in err
    assert tick.tick(open_session(path), project_now=False).sentences == ("the budget of 5 trials is used",)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (
            "constraints:\n  - speed_rpm <= 1900\n  - speed_rmp <= 1500\n",
            "LINE+2: constraint 'speed_rmp <= 1500': .*did you mean speed_rpm",
        ),
        ("constraints: [\"time_h != 'long'\"]\n", "LINE: constraint .*: time_h is a number, and 'long' a text"),
        ("forbidden:\n  - {speed_rpm: fast}\n", "LINE+1: forbidden combination .*: speed_rpm is a number"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused_with_its_line(
    bench: Session, run: Run, block: str, says: str
) -> None:
    path = bench.loaded.path
    text = path.read_text().replace("objectives:", f"{block}objectives:")
    path.write_text(text)
    first = text[: text.index(block)].count("\n") + 1
    for shift in (2, 1):
        says = says.replace(f"LINE+{shift}", f"campaign.yaml, line {first + shift}")
    code, _, err = run("propose", path, "-q", 1)
    assert code == 1 and re.search(says.replace("LINE", f"campaign.yaml, line {first}"), err), err


def test_a_sheet_that_cannot_be_written_is_refused_before_trials_are_proposed_for_it(bench: Session, run: Run) -> None:
    seq = bench.ledger.seq
    Path("next.xlsx").touch()
    for name, reason in (("next.xlsx", "exists already"), ("a.csv", "ends in .xlsx"), ("no/a.xlsx", "does not exist")):
        code, out, err = run("propose", "campaign.yaml", "-q", 6, "--sheet", name)
        assert code == 1 and reason in err and not out
    assert bench.ledger.seq == seq


def test_a_tick_says_each_sentence_on_a_line_of_its_own(bench: Session) -> None:
    folder = bench.settings.inbox("bench")
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("x,y\n1,2\n")
    (folder / "b.csv").write_text("")
    taken = inbox.empty(bench, settle_s=0)
    told = tick.summary(tick.TickResult(("T5",), (), taken.taken, sentences=(*taken.sentences, "the report is new")))
    first, *others = told.splitlines()
    assert first == "proposed 1, evaluated 0, took in 0"
    assert [line.split(":")[1].strip() for line in others[:2]] == ["refused", "refused"] and len(others) == 3
    assert tick.summary(tick.TickResult(busy=True, sentences=("another tick is at work",))) == "another tick is at work"


HUGE = 1e200


def test_what_is_larger_than_anything_measured_is_refused_at_every_door(
    bench: Session, run: Run, tmp_path: Path
) -> None:
    q = [3.0, 2.9]
    series = cycler_csv(tmp_path / "T0001-M1-C1.csv", q)
    series.write_text(series.read_text().replace("1.000000", f"{HUGE}"))
    table = capacity_csv(tmp_path / "T0002-M1-C1.csv", [1, 2], q=HUGE)
    history = tmp_path / "earlier.csv"
    history.write_text(f"speed_rpm,time_h,discharge_capacity_cycle_20_mAh_g_composite\n1500,3,{HUGE}\n")
    measured = tmp_path / "measured.csv"
    measured.write_text(f"trial,speed_rpm,observable,unit,value\nold,1500,discharge_capacity,mAh_g_composite,{HUGE}\n")
    powder = tmp_path / "powder.csv"
    powder.write_text(f"trial,pellet conductivity (mS/cm)\nT0001,{HUGE}\n")
    sheet = fill(sheet_of(bench, tmp_path / "s.xlsx"), {"trial": "T0001", "cell id": "K", "area (cm2)": HUGE})
    before = bench.ledger.seq
    for file in (series, table, history, measured, powder, sheet):
        code, out, err = run("ingest", "campaign.yaml", file, "--area-cm2", AREA)
        assert code == 1 and len(err.strip().splitlines()) == 1, (file.name, out, err)
        assert "is the unit right?" in err or "is not possible" in err, err
    assert bench.ledger.results("bench").empty and bench.ledger.cycling("bench").empty
    assert bench.ledger.files("bench").empty and bench.ledger.seq == before
    assert (
        run("ingest", "campaign.yaml", capacity_csv(tmp_path / "T0003-M1-C1.csv", [1, 2]), "--area-cm2", AREA)[0] == 0
    )
    for words in (
        ("T0003-M1-C1", "--cycle", 2, "--set", f"discharge_areal_capacity_mAh_cm2={HUGE}"),
        ("T0003-M1-C1", "--set", f"active_mass_mg={HUGE}"),
    ):
        code, _, err = run("amend", "campaign.yaml", *words, "--why", "x")
        assert code == 1 and ("larger than anything" in err or "is the unit, or" in err), err
    assert run("amend", "campaign.yaml", "T0003-M1-C1", "--set", f"active_mass_mg={MASS}", "--why", "x")[0] == 0


def test_an_area_that_comes_with_a_file_is_taken_with_it_or_not_at_all(
    bench: Session, run: Run, tmp_path: Path
) -> None:
    q = [3.0, 2.9]
    week1 = cycler_csv(tmp_path / "T0001-M1-C1.csv", q, last_share=0.5)
    week2 = cycler_csv(tmp_path / "T0001-M1-C1_w2.csv", [*q, 2.8])
    for file in (week1, week2):
        assert run("ingest", "campaign.yaml", file, "--area-cm2", AREA)[0] == 0
    code, out, err = run("ingest", "campaign.yaml", week1, "--area-cm2", 2 * AREA)
    assert code == 0 and "was taken in before for T0001-M1-C1; area_cm2 1.6 noted, 3 cycles reckoned again" in out, err
    other = tmp_path / "T0001-M1-C1_other.csv"
    other.write_text("cycle,discharge capacity (mAh)\n1,2.5\n2,2.4\n3,2.3\n")
    seq = bench.ledger.seq
    code, out, err = run("ingest", "campaign.yaml", other, "--area-cm2", AREA)
    assert code == 1 and "Nothing was taken" in err and bench.ledger.seq == seq
    assert bench.ledger.cells("bench").loc["T0001-M1-C1", "area_cm2"] == 2 * AREA
    renamed = tmp_path / "what was this.csv"
    renamed.write_bytes(week2.read_bytes())
    code, out, err = run("ingest", "campaign.yaml", renamed)
    assert code == 0 and "was taken in before for T0001-M1-C1, by whatever name" in out and bench.ledger.seq == seq
