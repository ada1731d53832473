"""The window of the best speed and time: a best, a band, a ridge, and bounds called bounds."""

import pytest

from campaign.errors import Refusal
from models.window import best_window


def test_the_ridge_trades_speed_for_time():
    found = best_window(speeds_rpm=(1500.0, 2000.0, 5), times_h=(1.0, 12.0, 16), draws=48)
    ridge = found.ridge
    assert ridge["time_h"].is_monotonic_decreasing
    assert (ridge["time_h_p05"] <= ridge["time_h_p95"]).all()
    assert found.time_band_h[0] <= found.time_h <= found.time_band_h[1]
    assert found.grid["chance_within_tolerance"].between(0, 1).all()
    assert found.value == pytest.approx(found.grid["median"].max())


def test_a_best_on_the_edge_is_called_a_bound():
    found = best_window(speeds_rpm=(1000.0, 1100.0, 2), times_h=(0.5, 2.0, 4), draws=16)
    assert any("bound" in sentence and "time" in sentence for sentence in found.bounds)


def test_it_moves_with_the_mechanism_not_with_the_paper():
    slow = best_window({"ball_ratio": 2.5}, speeds_rpm=(2000.0, 2000.0, 1), times_h=(1.0, 12.0, 16), draws=48)
    fast = best_window({"ball_ratio": 10.0}, speeds_rpm=(2000.0, 2000.0, 1), times_h=(1.0, 12.0, 16), draws=48)
    assert slow.time_h > fast.time_h


def test_a_window_outside_the_box_is_refused():
    with pytest.raises(Refusal, match="2000"):
        best_window(speeds_rpm=(1000.0, 2500.0, 3), draws=4)
