"""Files that grow, are cut, come twice, or lie under odd names: versions, truncation, the archive, and whose file it is."""

import os
from pathlib import Path

import numpy as np
import pytest
from lab_files import record, series_csv, table, write
from test_vendor_files import ARBIN, TWO_CYCLES, arbin_rows, landt, maccor, mpt

import ingest
from campaign.errors import Refusal
from ingest import tasks, understand

ROWS = record(TWO_CYCLES, dt_s=1800, logged="both")
FIXTURES = {
    "series": series_csv(ROWS).encode(),
    "arbin": table(ARBIN, arbin_rows(ROWS)).encode(),
    "maccor": maccor(ROWS, signed=False).encode(),
    "landt": landt(ROWS).encode(),
    "mpt": mpt(ROWS, comma=True),
}


def in_this_process(folder, raw):
    (folder / "input").write_bytes(raw)
    return understand.cycler(folder, ingest.Limits(), dict(tasks._REHEARSED))


def whole(found, kind):
    return [
        (n, q)
        for n, q, state in zip(found["cycle"], found[f"{kind}_capacity_mAh"], found[f"{kind}_state"], strict=True)
        if state == "complete"
    ]


@pytest.mark.parametrize("name", FIXTURES)
def test_cut_at_every_byte_nothing_half_passes_as_whole(tmp_path, name):
    raw = FIXTURES[name]
    full = in_this_process(tmp_path, raw)["cycles"]
    expected = {kind: dict(whole(full, kind)) for kind in ("discharge", "charge")}
    read = 0
    for length in range(1, len(raw)):
        try:
            found = in_this_process(tmp_path, raw[:length])["cycles"]
        except Refusal:
            continue
        read += 1
        for kind in ("discharge", "charge"):
            for cycle, amount in whole(found, kind):
                assert amount == pytest.approx(expected[kind][cycle], rel=0.005), f"cut at byte {length}"
    assert read > 10


def test_per_gram_and_per_cm2_are_the_amount_by_the_cell_s_own_mass_and_area(tmp_path):
    path = write(tmp_path / "a.csv", series_csv(ROWS))
    cycles = ingest.read_cycler(path, cell=ingest.CellFacts(active_mass_mg=2.5, area_cm2=0.8)).cycles
    for kind in ("discharge", "charge"):
        amount = cycles[f"{kind}_capacity_mAh"].to_numpy()
        assert cycles[f"{kind}_capacity_mAh_g"].to_numpy() == pytest.approx(amount * 1000 / 2.5, rel=1e-12, nan_ok=True)
        assert cycles[f"{kind}_areal_capacity_mAh_cm2"].to_numpy() == pytest.approx(
            amount / 0.8, rel=1e-12, nan_ok=True
        )
    assert cycles["discharge_capacity_mAh"].notna().any()


def test_a_longer_version_extends_and_a_changed_past_is_told(tmp_path):
    lines = series_csv(record(TWO_CYCLES, dt_s=60, logged="both")).splitlines(keepends=True)
    week1 = write(tmp_path / "week1.csv", "".join(lines[:100]))
    week2 = write(tmp_path / "week2.csv", "".join(lines[:200]))
    changed = write(
        tmp_path / "changed.csv", "".join([*lines[:50], lines[50].replace(",-1,", ",-1.1,"), *lines[51:200]])
    )
    again = write(tmp_path / "again.csv", "".join(lines[:200]).replace(",", ";"))
    longer = ingest.compare_versions(week1, week2)
    assert (longer.kind, longer.old_rows, longer.new_rows) == ("extends", 99, 199)
    assert ingest.compare_versions(week2, week1).kind == "contained"
    assert ingest.compare_versions(week2, again).kind == "same"
    told = ingest.compare_versions(week2, changed)
    assert told.kind == "changed" and told.differences[0] == ingest.Difference(50, "current (mA)", -1.0, -1.1)
    assert "data row 50" in told.sentence
    dropped = write(tmp_path / "dropped.csv", "".join([*lines[:50], *lines[51:200]]))
    assert ingest.compare_versions(week2, dropped).kind == "changed"


def test_a_row_dropped_at_a_place_without_current_is_a_changed_past(tmp_path):
    old = write(tmp_path / "a.csv", "cycle,discharge_capacity_mAh\n1,5\n2,4\n3,3\n")
    new = write(tmp_path / "b.csv", "cycle,discharge_capacity_mAh\n1,5\n2,4\n4,3\n5,2\n")
    assert ingest.compare_versions(old, new).differences[0].row == 3


def test_versions_of_different_formats_are_refused(tmp_path):
    old = write(tmp_path / "a.csv", "cycle,discharge_capacity_mAh\n1,5\n")
    with pytest.raises(Refusal, match="cannot be compared"):
        ingest.compare_versions(old, write(tmp_path / "b.csv", FIXTURES["series"]))


def test_a_file_still_being_written_is_left_alone(tmp_path):
    path = write(tmp_path / "a.csv", "x")
    written = path.stat().st_mtime
    assert not ingest.is_settled(path, clock=lambda: written + 5)
    assert ingest.is_settled(path, clock=lambda: written + 11)
    assert ingest.is_settled(path, settle_s=2, clock=lambda: written + 3)
    assert ingest.is_settled(path, settle_s=0.1, clock=lambda: written - 3600)


def test_archive_keeps_one_copy_under_its_hash(tmp_path):
    import hashlib

    raw = np.random.default_rng(0).bytes(3_000_000)
    first = ingest.store(write(tmp_path / "a.bin", raw), tmp_path / "archive")
    second = ingest.store(write(tmp_path / "b.bin", raw), tmp_path / "archive")
    assert first.new and not second.new and first.path == second.path
    assert first.sha256 == hashlib.sha256(raw).hexdigest() and first.path.read_bytes() == raw
    assert not os.access(first.path, os.W_OK) or os.geteuid() == 0
    assert sorted(p.name for p in (tmp_path / "archive").rglob("*") if p.is_file()) == [first.sha256]


def test_archive_that_cannot_be_written_is_one_sentence(tmp_path):
    path = write(tmp_path / "a.csv", "x")
    with pytest.raises(Refusal, match="cannot be kept"):
        ingest.store(path, Path("/proc/nowhere"))
    held = ingest.store(path, tmp_path / "archive")
    held.path.chmod(0o644)
    held.path.write_text("something else")
    with pytest.raises(Refusal, match="something else under this hash"):
        ingest.store(path, tmp_path / "archive")


def test_archive_syncs_before_it_renames(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", lambda descriptor, real=os.fsync: (calls.append("sync"), real(descriptor)))
    monkeypatch.setattr(os, "replace", lambda a, b, real=os.replace: (calls.append("rename"), real(a, b)))
    ingest.store(write(tmp_path / "a.csv", "x"), tmp_path / "archive")
    assert calls[0] == "sync" and calls[1] == "rename" and calls[2:] == ["sync", "sync"]


KNOWN = ["T0003-M1-C1", "T0003-M1-C2", "T0003-M1-C21", "LS-07"]


@pytest.mark.parametrize(
    ("name", "options", "cell", "how"),
    [
        ("T0003-M1-C2_week4.ndax", {}, "T0003-M1-C2", "name"),
        ("t0003-m1-c21.csv", {}, "T0003-M1-C21", "name"),
        ("anything.csv", {"said": "LS-07"}, "LS-07", "said"),
        ("T0003-M1-C2.csv", {"said": "LS-07"}, "LS-07", "said"),
        ("anything.csv", {"metadata_id": "ls-07"}, "LS-07", "metadata"),
        ("week1.csv", {"sheet_files": {"week1.csv": "T0003-M1-C1"}}, "T0003-M1-C1", "sheet"),
        ("T0003-M1-C2.csv", {"metadata_id": "T0003-M1-C2"}, "T0003-M1-C2", "name"),
        ("week1.csv", {}, None, "unassigned"),
        ("XT0003-M1-C2.csv", {}, None, "unassigned"),
        ("T0003-M1-C1_T0003-M1-C2.csv", {}, None, "unassigned"),
        ("T0003-M1-C2.csv", {"metadata_id": "LS-07"}, None, "unassigned"),
        ("a.csv", {"metadata_id": "T9999"}, None, "unassigned"),
    ],
)
def test_whose_file_it_is(name, options, cell, how):
    found = ingest.find_cell(name, known_cells=KNOWN, **options)
    assert (found.cell, found.how) == (cell, how)
    assert cell is not None or "--cell" in found.sentence


def test_a_cell_that_nobody_knows_is_refused_with_the_nearest():
    with pytest.raises(Refusal, match="did you mean"):
        ingest.find_cell("a.csv", known_cells=KNOWN, said="T0003-M1-C3")
