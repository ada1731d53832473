"""Promises 5, 6, 19 and 20 on a whole campaign: a corpus brought twice, pages read again, the report recalculated, a new home."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
sys.path.append(str(ROOT / "tests/flows"))

from lab_kit import AREA, MASS, capacity_csv, content, cycler_csv, fill, lab, sheet_of  # noqa: E402 - the path is set above
from recalculate import capacities  # noqa: E402 - the path is set above

from campaign.trial import read_id  # noqa: E402 - the path is set above
from flows import choose, corrections, keeping, people  # noqa: E402 - the path is set above
from flows.cli import main  # noqa: E402 - the path is set above
from flows.session import Session, now, open_session  # noqa: E402 - the path is set above
from flows.take_in import take_in as take  # noqa: E402 - the path is set above


def brought(folder: Path) -> list[Path]:
    """A corpus: series, tables in every unit, a cell that grows, one that nobody named, earlier work, powder results."""
    folder.mkdir()
    q = [3.0 * 0.99**n for n in range(20)]
    per_gram = "\n".join(f"{n},{900 - 5 * n}" for n in range(1, 21))
    (folder / "T0002-M1-C1.csv").write_text(f"cycle,discharge capacity (mAh/g)\n{per_gram}\n")
    (folder / "powder.csv").write_text("mix,crystallite size (um)\nT0001-M1,0.4\n")
    (folder / "points.csv").write_text(
        "trial,speed_rpm,time_h,active,active_wt_pct,sse,observable,unit,value,cycle\n"
        "E1,1200,2,S,25,LPSCl,discharge_areal_capacity,mAh/cm2,3.1,1\n"
    )
    (folder / "earlier.csv").write_text(
        "speed_rpm,time_h,active,active_wt_pct,sse,discharge_areal_capacity_cycle_1_mAh_cm2\n1300,3,S,25,LPSCl,3.3\n"
    )
    return [
        cycler_csv(folder / "T0001-M1-C1.csv", q[:7], last_share=0.5),
        cycler_csv(folder / "T0001-M1-C1 week 2.csv", q),
        capacity_csv(folder / "T0001-M1-C2.csv", range(1, 21)),
        folder / "T0002-M1-C1.csv",
        capacity_csv(folder / "T0003-M1-C1.csv", range(1, 21), q=4.2),
        cycler_csv(folder / "export.csv", q[:3]),
        folder / "powder.csv",
        folder / "points.csv",
        folder / "earlier.csv",
    ]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, list[Path]]:
    """A campaign with a past: three batches proposed from different evidence, values corrected, a trial excluded."""
    folder = tmp_path_factory.mktemp("traceable")
    patch = pytest.MonkeyPatch()
    session = lab(folder / "bench", patch)
    patch.undo()
    files = brought(folder / "files")
    row = {
        "trial": "T0001",
        "state": "testing",
        "cell id": "K1",
        "channel": "1",
        "area (cm2)": AREA,
        "done speed (rpm)": 1450,
    }
    sheet = fill(sheet_of(session, folder / "files/next.xlsx"), {**row, "active mass (mg)": MASS})
    files.insert(0, sheet)
    for file in files[:4]:
        take(session, file, by="Ada", area_cm2=None if file == sheet else AREA)
    choose.propose(session, 1)
    for file in files[4:]:
        facts = {"active_mass_mg": MASS, "area_cm2": AREA} if file.name.startswith("T0002") else {}
        take(session, file, by="Ada", **facts)
    choose.propose(session, 1)
    act = people.Act("Bo", now(), "weighed again")
    corrections.amend(session, read_id("T0001-M1-C1"), {"active_mass_mg": 1.1 * MASS}, act)
    corrections.amend(session, read_id("T0001-M1-C2"), {"discharge_capacity_mAh": 3.7}, act, cycle=20)
    corrections.amend(session, read_id("T0001-M1"), {"crystallite_size_um": 0.5}, act)
    corrections.amend(session, read_id("T0002"), {"active_wt_pct": 26.0, "carbon_wt_pct": 24.0}, act)
    corrections.change_state(session, "exclude", read_id("T0003"), act)
    return session, files


def test_every_number_of_the_report_comes_out_of_an_export_again(
    told: tuple[Session, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, _ = told
    keeping.export(session.ledger, session.settings, tmp_path / "out", format="csv")
    again = capacities(tmp_path / "out", 20)
    monkeypatch.chdir(session.settings.data_dir.parent)
    monkeypatch.setattr(sys, "argv", ["mixwright", "report", "campaign.yaml"])
    main()
    page = next(session.settings.data_dir.rglob("report.html")).read_text(encoding="utf-8")
    cells = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "|", re.sub(r"(?s)<(script|style).*?</\1>", "", page)))
    found = re.findall(
        r"\|(T\d{4})\|+\w+\|+(\d[\d.]*)\|", cells
    )  # trial, state, outcome; the first table that has them
    shown = {trial: float(value) for trial, value in reversed(found)}
    evaluators = session.ledger.trials("bench")["evaluator"]
    shown = {trial: value for trial, value in shown.items() if evaluators[trial] == "lab"}
    assert set(shown) == set(again) == {"T0001", "T0002"}  # T0003 is excluded
    for trial, (per_composite, _) in again.items():
        assert shown[trial] == float(f"{per_composite:.4g}")
    assert len(Path(recalculated := str(ROOT / "tests/reliability/recalculate.py")).read_text().splitlines()) <= 100
    assert not re.search(
        r"^(import|from) (?!__future__|csv|json|sys|pathlib|statistics)", Path(recalculated).read_text(), re.M
    )


def test_an_earlier_page_gives_the_evidence_of_every_earlier_proposal(told: tuple[Session, list[Path]]) -> None:
    session, _ = told
    chosen = session.ledger.decisions("bench").iloc[4:]
    assert len(chosen) == 2 and chosen["data_sha256"].is_unique
    for decision in chosen.to_dict("records"):
        then = choose.chooser(session, session.ledger.as_of(int(decision["data_seq"])))
        assert choose.data_hash(then.evidence) == decision["data_sha256"]
    now_known = choose.data_hash(choose.chooser(session, session.reader).evidence)
    assert now_known not in set(chosen["data_sha256"])  # the corrections count from now on, not before


def test_an_export_in_a_new_home_gives_the_same_next_proposal(
    told: tuple[Session, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, _ = told
    keeping.export(session.ledger, session.settings, tmp_path / "out", format="json")
    other = lab(tmp_path / "new home", monkeypatch)
    assert other.ledger.path is not None
    other.ledger.path.unlink()
    keeping.restore(tmp_path / "out", other.settings)
    other = open_session(tmp_path / "new home/campaign.yaml")
    assert content(other) == content(session)
    backup = tmp_path / "twin.db"
    session.ledger.backup(backup)
    twin = lab(tmp_path / "twin", monkeypatch)
    assert twin.ledger.path is not None
    shutil.copyfile(backup, twin.ledger.path)
    proposed = [choose.propose(home, 2) for home in (other, open_session(tmp_path / "twin/campaign.yaml"))]
    pd.testing.assert_frame_equal(*proposed)


def test_the_corpus_again_in_other_coats_by_8_processes_changes_nothing(
    told: tuple[Session, list[Path]], tmp_path: Path
) -> None:
    session, files = told
    before, seq = content(session), session.ledger.seq
    again = []
    for number, file in enumerate(files):
        again += [file, shutil.copyfile(file, tmp_path / f"renamed {number}{file.suffix}")]
        os.utime(again[-1])
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                mine = open_session(session.settings.data_dir.parent / "campaign.yaml")
                for file in [*again[number:], *again[:number]]:
                    take(mine, file, by="again")
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    assert content(session) == before and session.ledger.seq == seq
