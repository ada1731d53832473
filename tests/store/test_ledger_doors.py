"""Files, the projection's outbox and the reading doors of the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ledger_kit import WHO, later, new_ledger, scalar, small_campaign, told_campaign

from campaign.errors import Refusal
from store import Ledger


@pytest.fixture
def lab(tmp_path: Path) -> Ledger:
    return small_campaign(tmp_path)


# ---- files -----------------------------------------------------------------------------------------------------------------
def test_a_file_is_its_content(lab: Ledger) -> None:
    lab.put_campaign("d", {}, **WHO)
    assert lab.register_file("c", "aa", name="cell.csv", size=3, details={"format": "bdf"}, **WHO)
    before = lab.seq
    assert not lab.register_file("c", "aa", name="copy of cell.csv", size=3, at=later(days=1), by="Bob")
    assert lab.seq == before
    assert lab.register_file("d", "aa", name="cell.csv", size=3, **WHO), "another campaign has its own"
    assert lab.files("c")["subject"].isna().all()
    lab.start("T1", key="s", **WHO)
    lab.assign_file("c", "aa", "t1m1c1", key="1", **WHO)
    assert lab.files("c")["subject"].tolist() == ["T0001-M1-C1"] and lab.files("d")["subject"].isna().all()
    lab.assign_file("c", "aa", None, key="2", why="wrong cell", **WHO)
    assert lab.files("c")["subject"].isna().all()
    assert lab.as_of(lab.seq - 1).files("c")["subject"].tolist() == ["T0001-M1-C1"]
    with pytest.raises(Refusal, match="has no file bb"):
        lab.assign_file("c", "bb", "T1", key="3", **WHO)
    with pytest.raises(Refusal, match="no cell T0002-M1-C1"):
        lab.register_file("c", "cc", name="x", size=1, subject="T2-M1-C1", **WHO)
    with pytest.raises(Refusal, match="no campaign"):
        lab.register_file("e", "cc", name="x", size=1, **WHO)


def test_a_broken_file_name_does_not_stop_its_file(lab: Ledger) -> None:
    assert lab.register_file("c", "aa", name=b"cell \xff.csv".decode(errors="surrogateescape"), size=3, **WHO)
    assert lab.files("c")["name"].tolist() == ["cell ?.csv"]


def test_half_a_character_in_a_reason_is_refused_with_a_sentence(lab: Ledger) -> None:
    with pytest.raises(Refusal, match="cannot hold this"):
        lab.fail("T1", why="\udcff", key="k", **WHO)


# ---- projection ------------------------------------------------------------------------------------------------------------
def test_what_changed_waits_for_the_projection_until_it_is_marked(lab: Ledger) -> None:
    waiting = lab.pending_projection("c")
    assert set(waiting["trial"]) == {"", "T0001", "T0002", "T0003"}
    for row in waiting.to_dict("records"):
        lab.mark_projected("c", row["trial"], row["seq"])
    assert lab.pending_projection("c").empty
    lab.record(results=scalar("T2"), key="1", **WHO)
    (item,) = lab.pending_projection("c").to_dict("records")
    assert item == {"trial": "T0002", "seq": lab.seq}
    lab.fail("T2", why="late", key="2", **WHO)  # it changes while the projection is being written
    lab.mark_projected("c", "T0002", item["seq"])
    assert lab.pending_projection("c")["trial"].tolist() == ["T0002"]
    lab.mark_projected("c", "T0002", lab.seq)
    lab.mark_projected("c", "T0002", item["seq"])  # an old mark that comes late does not open it again
    assert lab.pending_projection("c").empty
    lab.reset_projection("c")
    assert len(lab.pending_projection("c")) == 4


# ---- reading ---------------------------------------------------------------------------------------------------------------
def test_an_empty_ledger_reads_as_tables_with_their_columns(tmp_path: Path) -> None:
    empty, told = new_ledger(tmp_path), None
    (folder := tmp_path / "told").mkdir()
    told = told_campaign(folder)
    for door in ("campaigns", "trials", "mixes", "cells", "results", "cycling", "decisions", "files", "events"):
        table = getattr(empty, door)()
        assert table.empty and list(table.columns) == list(getattr(told, door)().columns), door
    assert empty.history("T1").empty


def test_every_door_shows_what_it_showed_then(tmp_path: Path) -> None:
    doors = ("campaigns", "trials", "mixes", "cells", "results", "cycling", "decisions", "files", "events")
    seen: dict[int, dict[str, pd.DataFrame]] = {}

    class Watching(Ledger):
        def _write(self, *args: Any, **more: Any) -> Any:
            answer = super()._write(*args, **more)
            seen[self.seq] = {door: getattr(self, door)() for door in doors}
            return answer

    import ledger_kit

    original, ledger_kit.Ledger = ledger_kit.Ledger, Watching
    try:
        ledger = told_campaign(tmp_path)
    finally:
        ledger_kit.Ledger = original
    assert len(seen) >= 9
    for seq, tables in seen.items():
        for door, table in tables.items():
            pd.testing.assert_frame_equal(getattr(ledger.as_of(seq), door)(), table, check_dtype=False)


def test_one_campaign_sees_nothing_of_another(tmp_path: Path) -> None:
    ledger = told_campaign(tmp_path)
    ledger.put_campaign("d", {}, **WHO)
    for door in ("trials", "mixes", "cells", "results", "cycling", "decisions", "files"):
        assert getattr(ledger, door)("d").empty and not getattr(ledger, door)("c").empty, door
    assert set(ledger.events("d")["verb"]) == {"campaign"}
    assert ledger.pending_projection("d")["trial"].tolist() == [""]


def test_a_clock_that_was_set_back_does_not_change_the_order(lab: Ledger) -> None:
    lab.record(results=scalar("T1", 1.0), key="1", at=later(days=400), by="Ada")
    lab.amend(results=pd.DataFrame({"result": [1], "value": [2.0]}), why="w", key="2", at=later(days=-400), by="Ada")
    assert lab.results("c")["value"].tolist() == [2.0]
    assert lab.events()["seq"].is_monotonic_increasing
    assert lab.trial("T1").campaign == "c"
    with pytest.raises(Refusal, match="no trial T0044"):
        lab.trial("T44")
