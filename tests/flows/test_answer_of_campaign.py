"""The answer names only what may be mixed, and judges recipes by all that is wanted of them."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from lab_kit import AREA, CAMPAIGN, DECISION

from flows import choose, people
from flows.answer import Answer, answer
from flows.people import Act
from flows.session import Session, now, open_session
from flows.take_in import take_in


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, *changes: tuple[str, str]) -> Session:
    monkeypatch.setenv("MIXWRIGHT_DATA_DIR", str(folder / "data"))
    text = CAMPAIGN
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "campaign.yaml").write_text(text)
    return open_session(folder / "campaign.yaml")


def measured(session: Session, folder: Path, recipes: pd.DataFrame, mAh_cm2: list[float]) -> Answer:
    """What is answered once a cell of each recipe has run to its end."""
    designs = session.spec.designs(recipes)
    session.ledger.propose("bench", designs, DECISION, evaluator="lab", trials_seen=0, key="plan", at=now(), by="Ada")
    for number, q in enumerate(mAh_cm2, start=1):
        name = f"T{number:04d}-M1-C1"
        people.start(session.ledger, name, Act("Ada", now()), channel=None, facts={"area_cm2": AREA})
        rows = [f"{n},{q * 0.999**n:.5f}" for n in range(1, 21)]
        (folder / f"{name}.csv").write_text("cycle,discharge capacity (mAh/cm2)\n" + "\n".join(rows) + "\n")
        take_in(session, folder / f"{name}.csv", by="Ada")
    found = answer(session, choose.chooser(session, session.reader))
    assert found is not None
    return found


def test_what_is_forbidden_with_an_electrolyte_is_not_its_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LGPS may be mixed with Te alone, which gives a quarter of what S does."""
    space = (
        "step: 0.25}\n  active: [S, Te]\n  sse: [LPSCl, LGPS]\nforbidden: [{sse: LGPS, active: S}]\nfixed: {active_wt"
    )
    session = opened(tmp_path, monkeypatch, ("step: 0.25}\nfixed: {active: S, active_wt", space))
    pairs = [("S", "LPSCl")] * 4 + [("Te", "LPSCl")] * 3 + [("Te", "LGPS")] * 3
    recipes = pd.DataFrame(pairs, columns=["active", "sse"])
    recipes = recipes.assign(speed_rpm=[1200.0 + 75 * n for n in range(10)], time_h=[2.0 + n % 4 for n in range(10)])
    found = measured(session, tmp_path, recipes, [4.0, 4.1, 4.2, 4.15, 1.0, 1.05, 1.1, 0.9, 0.98, 0.95])
    best = found.electrolytes.set_index("sse")["mean"]  # mAh per g of composite: 1 mAh/cm2 is 62.5
    assert best["LPSCl"] > 230 and best["LGPS"] < 85
    tried = found.electrolytes.set_index("sse")["best_tried"]
    assert tried["LGPS"] == pytest.approx(0.98 * 62.5, rel=0.03)


def test_the_ridge_holds_the_recommended_recipe_and_what_equals_it_in_everything_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer mixing gives more and takes longer: by the capacity alone the long mixes would be equivalents."""
    second = ("goal: max}", "goal: max}\n  - {outcome: mixing_time_h, goal: min}")
    session = opened(tmp_path, monkeypatch, second)
    hours = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    recipes = pd.DataFrame({"speed_rpm": [1900.0, 1500.0] * 4, "time_h": hours})
    found = measured(session, tmp_path, recipes, [2.0, 3.0, 3.6, 3.9, 4.2, 4.3, 4.35, 4.4])
    ridge, best = found.ridge, found.recipe
    assert ((ridge["speed_rpm"] == best["speed_rpm"]) & (ridge["time_h"] == best["time_h"])).any()
    assert ridge["time_high_h"].max() <= 1.05 * best["time_h"] + 1e-9
    assert (ridge["probability"].dropna() > 0.4).all()
    (said,) = [
        sentence for sentence in found.sentences if "in every objective" in sentence and "looked at" not in sentence
    ]
    assert said.startswith(("Ridge of equivalents", "No other recipe"))


def test_no_interval_reaches_beyond_what_a_cell_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """25 wt% of S hold 418 mAh per gram of composite, and the electrolyte holds a little more beside it."""
    session = opened(tmp_path, monkeypatch)
    recipes = pd.DataFrame({"speed_rpm": [1000.0, 2000.0, 1500.0], "time_h": [1.0, 1.0, 11.0]})
    found = measured(session, tmp_path, recipes, [0.6, 6.4, 0.5])
    asked = choose.propose(session, 3)
    free = choose.chooser(session, session.reader).optimiser.predict(asked[["speed_rpm", "time_h"]])
    assert free["p95"].max() > 600  # what numbers alone would let expect
    assert (asked["predicted_p95"] < 540).all() and found.p95 < 540
    assert (asked["predicted_p05"] <= asked["predicted_mean"]).all()
    assert (asked["predicted_mean"] <= asked["predicted_p95"]).all() and found.p05 <= found.mean <= found.p95


def test_every_row_of_the_ridge_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table named 933.3 rpm for 6.633 h, points of a drawn grid that no mixer stops at."""
    session = opened(tmp_path, monkeypatch)
    recipes = pd.DataFrame(
        {"speed_rpm": [1000.0, 1500.0, 2000.0] * 3, "time_h": [2.0, 5.0, 9.0, 5.0, 9.0, 2.0, 9, 2, 5]}
    )
    found = measured(session, tmp_path, recipes, [3.0, 4.3, 4.2, 3.8, 4.4, 4.02, 4.1, 4.0, 4.41])
    ridge, best = found.ridge, found.recipe
    assert len(ridge) > 10
    assert (ridge["speed_rpm"] % 25 == 0).all()
    for name in ("time_h", "time_low_h", "time_high_h"):
        assert (ridge[name] % 0.25 == 0).all(), name
    assert ((ridge["speed_rpm"] == best["speed_rpm"]) & (ridge["time_h"] == best["time_h"])).any()
    assert ridge["probability"].between(0.0, 1.0).all()
    optimiser = choose.chooser(session, session.reader).optimiser
    assert ridge["mean"].to_numpy() == pytest.approx(
        optimiser.predict(ridge[["speed_rpm", "time_h"]])["mean"].to_numpy()
    )
    near = found.surface.assign(
        far=lambda t: abs(t["speed_rpm"] - best["speed_rpm"]) / 1000 + abs(t["time_h"] - best["time_h"]) / 12
    )
    told = ridge.loc[ridge["speed_rpm"].eq(best["speed_rpm"]), "probability"].iloc[0]
    assert told == pytest.approx(near.loc[near["far"].idxmin(), "probability"], abs=0.15)


def test_settings_are_said_in_words_with_their_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The window lay between "loading_mg_cm2 3.0 to loading_mg_cm2 4.0"."""
    varied = (
        "  loading_mg_cm2: {low: 2, high: 6, step: 0.5}\n  stack_pressure_MPa: {low: 50, high: 100, step: 10}\nfixed:"
    )
    session = opened(tmp_path, monkeypatch, ("fixed:", varied), ("loading_mg_cm2: 4, ", ""))
    recipes = pd.DataFrame(
        {"speed_rpm": [1500.0, 1800.0, 1200.0, 2000.0, 1400.0, 1700.0], "time_h": [3.0, 4, 2, 1, 6, 9]}
    )
    recipes = recipes.assign(
        loading_mg_cm2=[2.0, 3.0, 4.0, 5.0, 6.0, 4.0], stack_pressure_MPa=[50.0, 60, 70, 80, 90, 100]
    )
    found = measured(session, tmp_path, recipes, [2.0, 3.1, 3.9, 4.4, 5.5, 3.95])
    said = " ".join(found.sentences)
    assert "loading_mg_cm2" not in said and "stack_pressure_MPa" not in said
    best = found.recipe
    assert (
        f", loading {best['loading_mg_cm2']:g} mg cm⁻², stack pressure {best['stack_pressure_MPa']:g} MPa; expected"
        in said
    )
    windows = [sentence for sentence in found.sentences if " or more: " in sentence]
    assert windows and all(re.search(r"\d rpm, .*\d h, loading [\d.]+( to [\d.]+)? mg cm⁻²", said) for said in windows)
