"""The `lab:` block: channels, mixers, hours, stock, prices, limits of the mixer; each is respected, each fault has its line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab_kit import CAMPAIGN, lab

from campaign import materials
from campaign.errors import Refusal
from campaign.space import SearchSpace
from campaign.spec import Lab
from flows import choose, lab_cost
from flows.mixer import WEEKDAYS, days_a_batch, mixer_slots, next_working
from flows.session import Session, open_session
from flows.stock import OutOfStock, stock_of
from flows.tick import tick
from flows.today import today

FRIDAY = datetime(2026, 11, 20, 10, 0).astimezone()


def with_lab(folder: Path, monkeypatch: pytest.MonkeyPatch, block: str, *changes: tuple[str, str]) -> Session:
    """The small lab with a `lab:` block; its four trials are open."""
    path = lab(folder, monkeypatch).loaded.path
    text = path.read_text().replace("budget:", f"lab: {block}\nbudget:")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return open_session(path)


def test_batches_take_turns_on_the_mixers_in_working_hours() -> None:
    hours = pd.Series({"T1": 6.0, "T2": 6.0, "T3": 1.0})
    one = mixer_slots(hours, Lab(), FRIDAY)
    assert [f"{one[t].begins:%a %H:%M}" for t in hours.index] == ["Fri 10:00", "Fri 16:30", "Mon 08:00"]
    assert "overnight" in mixer_slots(pd.Series({"T1": 20.0}), Lab(), FRIDAY)["T1"].sentence
    two = mixer_slots(hours, Lab(mixers=2), FRIDAY)
    assert [two[t].mixer for t in hours.index] == [1, 2, 1]
    assert two["T2"].begins == FRIDAY


def test_working_days_and_hours_are_those_of_the_lab() -> None:
    evening = FRIDAY.replace(hour=18)
    assert f"{next_working(evening, Lab()):%a %H}" == "Mon 08"
    assert next_working(evening, Lab(working_hours_per_day=12)) == evening
    assert f"{next_working(evening, Lab(working_days=('Sat', 'Sun'))):%a %H}" == "Sat 08"
    assert next_working(evening.replace(hour=3), Lab(working_hours_per_day=24)) == evening.replace(hour=3)


def test_today_gives_each_batch_its_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = with_lab(tmp_path / "bench", monkeypatch, "{mixers: 2}")
    slots = {batch.trial: batch.slot for batch in today(session, FRIDAY.astimezone(UTC)).mix}
    assert slots["T0001"].startswith("mixer 1: begin Fri 20 Nov 10:00, done Fri 20 Nov 16:30")
    assert slots["T0002"].startswith("mixer 2: begin Fri 20 Nov 10:00")


def test_no_more_is_proposed_than_channels_can_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN.replace("budget:", "lab: {channels: 2}\nbudget:"))
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path / "data"))
    session = open_session(path)
    assert len(tick(session, project_now=False).proposed) == 2
    again = tick(session, project_now=False)
    assert again.proposed == () and "channels" in again.sentences[0]


def test_stock_limits_what_is_proposed_and_says_when_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # four open trials take 0.5 g of LPSCl each; 3.1 g leave two more batches
    session = with_lab(tmp_path / "bench", monkeypatch, "{stock_g: {LPSCl: 3.1}}")
    left = stock_of(session, session.reader)
    assert left is not None and left.left_g["LPSCl"] == pytest.approx(1.1)
    assert len(choose.propose(session, 4)) == 2
    with pytest.raises(OutOfStock, match=r"campaign\.yaml, line \d+: what is left \(LPSCl 0.1 g\)"):
        choose.propose(session, 1)
    session.ledger.abandon("T0001", key="x", at=FRIDAY, by="Ada", why="never mixed")
    assert len(choose.propose(session, 1)) == 1


def test_who_asks_for_more_than_the_stock_allows_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]
) -> None:
    path = tmp_path / "campaign.yaml"  # 0.25 g of S and 0.25 g of carbon a batch
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path / "data"))
    for name, material in (("sulfur", "S"), ("carbon", "KB+C45")):
        text = CAMPAIGN.replace("campaign: bench", f"campaign: {name}")
        path.write_text(text.replace("budget:", f"lab: {{stock_g: {{{material}: 0.3}}}}\nbudget:"))
        for _ in range(2):  # the second time, the one that waits
            code, out, err = run("propose", path, "-q", "4", "--json")
            assert code == 0 and len(json.loads(out)) == 1
            assert "stock allows 1 of the 4 asked for: " in err and "raise stock_g" in err
            assert re.search(rf"campaign\.yaml, line \d+: what is left.*{re.escape(material)}.*0\.05 g", err)
        assert "stock allows" not in run("propose", path)[2]
    session = open_session(path)
    session.ledger.abandon("T0002", key="x", at=FRIDAY, by="Ada", why="never mixed")
    assert "stock allows 1 of the 4 asked for" in tick(session, project_now=False).sentences[0]


def test_an_electrolyte_that_is_gone_is_no_longer_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = ("space:\n", "space:\n  sse: [LPSCl, LGPS]\n")
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN.replace(*two).replace("budget:", "lab: {stock_g: {LPSCl: 0.2, S: 10}}\nbudget:"))
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path / "data"))
    asked = choose.propose(open_session(path), 4)
    assert set(asked["sse"]) == {"LGPS"}


def test_the_share_of_active_is_held_to_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = CAMPAIGN.replace("space:\n", "space:\n  active_wt_pct: {low: 10, high: 40}\n").replace(
        ", active_wt_pct: 25", ""
    )
    path = tmp_path / "campaign.yaml"
    path.write_text(text.replace("budget:", "lab: {stock_g: {S: 0.45}}\nbudget:"))
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path / "data"))
    asked = choose.propose(open_session(path), 4)
    assert asked["active_wt_pct"].sum() <= 45 + 1e-6 and len(asked) >= 1


def test_carbon_as_the_balance_is_counted_too_and_its_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "campaign.yaml"  # S 25, LPSCl 50: a batch of 1 g takes 0.25 g of carbon
    path.write_text(CAMPAIGN.replace("budget:", "lab: {stock_g: {KB+C45: 0.55}}\nbudget:"))
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path / "data"))
    session = open_session(path)
    assert len(choose.propose(session, 4)) == 2
    with pytest.raises(OutOfStock, match=r"campaign\.yaml, line \d+: what is left of KB\+C45 \(0.05 g\)"):
        choose.propose(session, 1)


def priced(lab: Lab, recipes: pd.DataFrame, held: dict[str, Any], *, cycles: int = 100) -> Any:
    """What recipes cost a lab, in a space of their columns."""
    space = {"sse": ["LPSCl", "LGPS"], "time_h": (1.0, 12.0), "loading_mg_cm2": (0.5, 8.0)}
    described = SearchSpace.of({name: space[name] for name in recipes})
    return lab_cost.of_lab(described, held, lab, materials.load(), cycles=cycles)(recipes)


def test_a_dearer_batch_costs_more_and_without_prices_only_days_count() -> None:
    recipes = pd.DataFrame({"sse": ["LPSCl", "LGPS"], "time_h": [5.0, 5.0]})
    held = {"speed_rpm": 1500.0, "active": "S"}
    cheap, dear = priced(Lab(price_per_g={"LPSCl": 1, "LGPS": 50}), recipes, held)
    assert dear > 1.5 * cheap
    same = priced(Lab(), recipes, held)
    assert same[0] == same[1]


def test_mixing_costs_days_only_where_the_mixer_is_scarcer_than_the_channels() -> None:
    recipes = pd.DataFrame({"time_h": [1.0, 4.0, 12.0]})
    held = {"speed_rpm": 1500.0, "active": "S"}
    few, many = (priced(Lab(channels=n), recipes, held) for n in (8, 200))
    assert few == pytest.approx(1.5 + 2 * recipes["time_h"].to_numpy() / 24 + 8)  # hands, 30 min on and 30 off, watched
    assert many[0] / many[2] < 0.5 * few[0] / few[2]
    assert priced(Lab(channels=200, mixers=50), recipes, held) == pytest.approx(few)


def test_a_cell_costs_no_more_channel_days_than_its_whole_run_takes() -> None:
    recipes = pd.DataFrame({"loading_mg_cm2": [0.5, 1.0, 8.0]})
    held = {"active": "S", "time_h": 1.0, "current_mA_cm2": 2.0}
    short = priced(Lab(channels=1), recipes, held, cycles=100) - 1.5 - 2 / 24
    assert short[1] == pytest.approx(100 * 2 * 1.672 / 2.0 / 24, rel=1e-2)  # mAh cm-2 over mA cm-2, twice a cycle
    assert short[0] < short[1] < short[2] == pytest.approx(8.0)


@given(
    hours=st.floats(0.25, 23.4),
    mixers=st.integers(1, 3),
    working_hours=st.sampled_from([4.0, 9.0, 24.0]),
    working_days=st.sampled_from([("Mon",), ("Mon", "Tue", "Wed", "Thu", "Fri"), WEEKDAYS]),
)
@settings(deadline=None, max_examples=30)
def test_days_a_batch_are_those_of_a_long_plan(
    hours: float, mixers: int, working_hours: float, working_days: Any
) -> None:
    lab = Lab(mixers=mixers, working_hours_per_day=working_hours, working_days=working_days)
    begins, weeks = datetime(2026, 11, 23, 0 if working_hours == 24 else 8).astimezone(), 6
    foretold = weeks * 7 / float(days_a_batch(np.array([hours]), lab)[0])
    plan = mixer_slots(pd.Series(hours, index=[f"T{i}" for i in range(int(foretold) + 20)]), lab, begins)
    begun = sum(slot.begins < begins + timedelta(weeks=weeks) for slot in plan.values())
    # A lab that never closes carries part of a batch over from week to week.
    carried = weeks * mixers if working_hours == 24 and len(working_days) == 7 else 0
    assert begun == pytest.approx(foretold, abs=carried + 1e-6)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("{channels: 0}", "channels"),
        ("{mixers: 1.5}", "mixers"),
        ("{working_days: [Monday]}", "working_days"),
        ("{working_days: []}", "working_days"),
        ("{working_hours_per_day: 25}", "working_hours_per_day"),
        ("{stock_g: {LPSC1: 3}}", "'LPSC1' is no material of this campaign"),
        ("{stock_g: {LPSCl: -3}}", "stock_g"),
        ("{price_per_g: {LPSCl: .inf}}", "price_per_g"),
        ("{price_per_g: {gold: 60}}", "'gold' is no material"),
        ("{batch_mass_g: 0.3}", "under the smallest"),
        ("{smallest_batch_g: 2}", "under the smallest"),
        ("{max_speed_rpm: 1800}", "beyond the mixer, which ends at 1800"),
        ("{max_run_time_h: 10}", "beyond the mixer, which ends at 10"),
        ("{chanels: 8}", "channels"),
    ],
)
def test_a_fault_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: str, says: str
) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN.replace("budget:", f"lab: {block}\nbudget:"))
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(Refusal, match=r"campaign\.yaml, line \d+") as refused:
        open_session(path)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("space", "fixed", "says"),
    [
        (
            "",
            "premill_h: 10, premill_speed_rpm: 5000",
            "premill_speed_rpm of 5000 is beyond the mixer, which ends at 2000",
        ),
        ("", "premill_h: 13, premill_speed_rpm: 500", "premill_h of 13 is beyond the mixer, which ends at 12"),
        ("premill_h: {low: 0, high: 13}", "premill_speed_rpm: 500", "premill_h up to 13 is beyond the mixer"),
        (
            "premill_speed_rpm: {low: 200, high: 2100}",
            "premill_h: 1",
            "premill_speed_rpm up to 2100 is beyond the mixer",
        ),
    ],
)
def test_premilling_is_a_run_of_the_mixer_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: str, fixed: str, says: str
) -> None:
    path = tmp_path / "campaign.yaml"
    text = CAMPAIGN.replace("active_wt_pct: 25", f"active_wt_pct: 25, {fixed}")
    text = text.replace("space:\n", f"space:\n  {space}\n" if space else "space:\n")
    path.write_text(text.replace("budget:", "lab: {max_speed_rpm: 2000, max_run_time_h: 12}\nbudget:"))
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(Refusal, match=r"campaign\.yaml, line \d+") as refused:
        open_session(path)
    assert says in str(refused.value)


def test_two_runs_that_each_last_as_long_as_the_mixer_may_are_taken_and_a_speed_without_hours_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "campaign.yaml"
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(tmp_path / "data"))
    for fixed in ("premill_h: 12, premill_speed_rpm: 2000", "premill_speed_rpm: 5000"):
        text = CAMPAIGN.replace("active_wt_pct: 25", f"active_wt_pct: 25, {fixed}")
        path.write_text(text.replace("budget:", "lab: {max_run_time_h: 12}\nbudget:").replace("bench", fixed[:9]))
        open_session(path)
