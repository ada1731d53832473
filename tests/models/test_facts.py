"""The scorecard: every row is answered, rows that nobody knows are scored alike, and nothing is refitted."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import models
from campaign import materials
from campaign.errors import Refusal
from models import facts
from models.facts import row_residual


@pytest.fixture(scope="module")
def scored():
    return facts.score(facts.read(), draws=64)


def test_every_row_has_a_verdict_and_the_unknown_are_counted(scored):
    assert len(scored) == len(facts.read())
    assert set(scored["verdict"]) <= {"within band", "outside band", "right", "wrong", "not modelled"}
    unknown = scored[scored["verdict"] == "not modelled"]
    assert set(unknown["observable"]) == {"lattice_parameter_a", "li2se_nanocrystal_size"}
    assert facts.figures(scored)["not_modelled"] == len(unknown)
    assert any("not modelled" in sentence for sentence in facts.summary(scored))


def test_the_fitted_rows_are_believable(scored):
    """Training figures guard against a broken parameter file; the goals themselves are leave-one-out (soak)."""
    figures = facts.figures(scored[scored["use"].isin(["fit", "range"])])
    assert figures["median_abs_residual"] <= 0.2
    assert figures["worst_abs_residual"] <= 1.0
    assert figures["words_wrong"] == 0
    assert 80 <= figures["coverage_pct"] <= 99


def test_bands_hold_the_model(scored):
    known = scored[scored["verdict"].isin(["within band", "outside band"])]
    assert (known["p05"] <= known["model"] + 1e-9).all()
    assert (known["model"] <= known["p95"] + 1e-9).all()


def test_rows_of_a_lab_are_scored_by_their_columns(tmp_path):
    rows = tmp_path / "ours.csv"
    rows.write_text(
        "id,active,sse,speed_rpm,time_h,active_wt_pct,sse_wt_pct,carbon_wt_pct,carbon,loading_mg_cm2,current_mA_cm2,"
        "observable,cycle,relation,value,unit,rel_uncertainty\n"
        "L1,S,LPSBr,1800,4,25,50,25,KB,3,0.5,discharge_areal_capacity,60,=,4.1,mAh/cm2,0.05\n"
        "L2,S,LPSBr,1800,4,25,50,25,KB,3,0.5,colour_of_the_powder,,=,3,1,\n"
        "L3,S,LPSBr,300,0.5,25,50,25,KB,3,0.5,segregation_seen,,=,0,bool,\n"
        "L4,S,LPSBr,1800,4,25,50,25,KB,3,0.5,discharge_areal_capacity,1,>=,2,mAh/cm2,\n"
    )
    before = models.parameters.load().z.copy()
    scored = facts.score(facts.read(rows), draws=16).set_index("id")
    assert np.isfinite(scored.loc["L1", ["model", "p05", "p95", "residual"]].astype(float)).all()
    assert scored.loc["L2", "verdict"] == "not modelled"
    assert scored.loc["L3", "verdict"] == "right"
    assert scored.loc["L4", "verdict"] == "right"
    np.testing.assert_array_equal(models.parameters.load().z, before)


def test_rows_are_scored_one_by_one_as_together():
    rows = facts.read().query("id in ['F046', 'F064', 'F101', 'F013']")
    together = facts.score(rows, fidelity="quick", draws=8)
    alone = pd.concat([facts.score(rows.iloc[[k]], fidelity="quick", draws=8) for k in range(len(rows))])
    np.testing.assert_allclose(together["model"], alone["model"], rtol=1e-9)


def test_rows_outside_the_box_are_scored_too():
    row = pd.DataFrame(
        [{"id": "X", "active": "S", "sse": "LPSCl", "speed_rpm": 2600.0, "time_h": 15.0, "observable": "crystallite_size",
          "relation": "=", "value": 0.1, "unit": "um"}]
    )  # fmt: skip
    assert np.isfinite(facts.score(row, draws=4)["model"].iloc[0])


@pytest.mark.parametrize(
    ("text", "said"), [("id,sse\n1,LPSCl\n", "column active is missing"), ("", "not a CSV"), ('a,b\n"1,2\n3', "")]
)
def test_a_file_of_other_rows_is_refused(tmp_path, text, said):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(Refusal, match=said):
        facts.read(path)


@pytest.mark.parametrize(
    ("observable", "model", "measured", "residual"),
    [
        ("discharge_areal_capacity", 1.9, 0.9, np.log(2.0)),
        ("discharge_plateau_start_voltage", 1.4, 1.3, 0.1),
        ("stack_pressure_swing_first_discharge", -4.0, -4.3, 0.3),
        ("crystallite_size", 0.2, 0.1, np.log(2.0)),
    ],
)
def test_residuals_are_as_the_goals_state_them(observable, model, measured, residual):
    assert row_residual(observable, model, measured) == pytest.approx(residual)


def test_no_code_of_the_physics_names_an_electrolyte_or_the_published_optimum():
    names = list(materials.load().electrolytes)
    for path in Path(models.__file__).parent.glob("*.py"):
        if path.name.startswith(("virtual_lab", "cell")):
            continue
        code = re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not [name for name in names if re.search(rf"\b{re.escape(name)}\b", code)], path.name
        # 2000 as the last cycle of a record is no speed.
        assert not re.search(r"2000(\.0)?\s*rpm|rpm[^\n]{0,12}2000", code.replace("2000.0, 17", "")), path.name
