"""A design table is completed with the published values, or refused with the row and the column."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign import materials, recipe
from campaign.errors import Refusal

KNOWN = materials.load()


@given(st.floats(0, 50), st.floats(0, 2000), st.floats(0, 12))
def test_shares_always_sum_to_100(active_wt_pct: float, speed_rpm: float, time_h: float) -> None:
    table = pd.DataFrame({"active_wt_pct": [active_wt_pct], "speed_rpm": [speed_rpm], "time_h": [time_h]})
    full = recipe.complete(table, KNOWN)
    assert full[["active_wt_pct", "sse_wt_pct", "carbon_wt_pct"]].sum(axis=1).iloc[0] == pytest.approx(100)
    assert list(full) == list(recipe.DESIGN_COLUMNS)
    pd.testing.assert_frame_equal(recipe.complete(full, KNOWN), full)


def test_a_control_without_active_or_carbon_is_pure_electrolyte() -> None:
    full = recipe.complete(pd.DataFrame({"active": ["none"], "carbon": ["none"]}), KNOWN).iloc[0]
    assert (full.active_wt_pct, full.sse_wt_pct, full.carbon_wt_pct) == (0, 100, 0)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"time_h": [-1.0]}, "row 0, column time_h: -1 is negative"),
        ({"time_h": [float("nan")]}, "row 0, column time_h: nan is not a finite number"),
        ({"time_h": ["five"]}, "'five' is not a finite number"),
        ({"speed": [1.0]}, "did you mean speed_rpm"),
        ({"sse": ["LPSCI"]}, "did you mean LPSCl"),
        ({"active": ["Sulfur"]}, "nobody defined the active"),
        ({"active_wt_pct": [30.0], "sse_wt_pct": [50.0], "carbon_wt_pct": [30.0]}, "sum to 110, not 100"),
        ({"active": ["none"], "active_wt_pct": [20.0]}, "must be 0"),
    ],
)
def test_a_fault_names_its_place(columns: dict[str, list[object]], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        recipe.complete(pd.DataFrame(columns), KNOWN)
