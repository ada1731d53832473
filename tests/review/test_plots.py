"""Plots: the data behind them is what was handed in, measured and simulated look apart, empty campaigns say so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import PathCollection
from review_example import OBJECTIVE, example_view

from campaign.errors import Refusal
from review import Axis, CampaignView, Objective, Provenance
from review.plots import PLOTS, draw, draw_simulation
from review.plots.figure import look, spread


def empty(view: CampaignView) -> CampaignView:
    return CampaignView(name="new", objective=view.objective, evaluator="lab", provenance=view.provenance)


def test_best_so_far_holds_every_value_in_the_order_proposed(view: CampaignView) -> None:
    data = draw(view, "best_so_far").data
    assert data["trial_id"].to_list() == view.trials["trial_id"].to_list()
    assert data["value"].to_list() == view.trials[OBJECTIVE].to_list()
    assert data["best_so_far"].iloc[-1] == view.trials[OBJECTIVE].max()
    assert data["best_so_far"].is_monotonic_increasing


def test_best_so_far_follows_the_goal_down_and_skips_what_does_not_count(view: CampaignView) -> None:
    trials = view.trials.copy()
    trials.loc[3, "state"] = "excluded"
    trials.loc[5, OBJECTIVE] = np.nan
    least = replace(view, trials=trials, objective=replace(view.objective, goal="min"))
    data = draw(least, "best_so_far").data
    assert len(data) == len(trials) - 2
    assert data["best_so_far"].is_monotonic_decreasing


def test_best_so_far_takes_results_in_the_order_they_came_in(view: CampaignView) -> None:
    late = view.trials.assign(finished_at=view.trials["finished_at"].iloc[::-1].to_list())
    data = draw(replace(view, trials=late), "best_so_far").data
    assert data["trial_id"].to_list() == view.trials["trial_id"].to_list()[::-1]


def test_best_so_far_does_not_depend_on_the_order_of_rows(view: CampaignView) -> None:
    shuffled = replace(view, trials=view.trials.sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(draw(shuffled, "best_so_far").data, draw(view, "best_so_far").data)


def test_capacity_plot_shows_the_best_four_and_published_points_only_where_measured(view: CampaignView) -> None:
    data = draw(view, "capacity_against_cycle").data
    best = view.trials.sort_values(OBJECTIVE, ascending=False)["trial_id"].head(4).to_list()
    simulated = data[data["evaluator"].eq("physics")]
    assert simulated["trial_id"].unique().tolist() == best
    paper = data[data["trial_id"].eq("paper-2000rpm-5h")].set_index("cycle")["discharge_areal_capacity_mAh_cm2"]
    assert paper.to_dict() == {1: 6.28, 35: 7.85, 100: 6.21}


def test_each_cell_of_a_trial_has_a_curve_of_its_own(view: CampaignView) -> None:
    best = view.best_trial_id
    twice = pd.concat([view.cycling.assign(cell_id=cell) for cell in ("C1", "C2")], ignore_index=True)
    plot = draw(replace(view, cycling=twice), "capacity_against_cycle")
    of_best = plot.data[plot.data["trial_id"].eq(best)]
    assert of_best.groupby("cell_id")["cycle"].apply(list).to_dict() == {
        cell: list(range(1, 101)) for cell in ("C1", "C2")
    }
    curves = [line for line in plot.figure.axes[0].lines if len(line.get_xdata()) == 100]
    assert len(curves) == 8


def test_a_curve_is_named_once_where_the_cell_is_named_after_its_trial(view: CampaignView) -> None:
    best = view.best_trial_id
    for cell, named in ((f"{best}-M1-C1", f"{best}-M1-C1: "), (best, f"{best}: "), ("C1", f"{best} C1: ")):
        plot = draw(replace(view, cycling=view.cycling.assign(cell_id=cell)), "capacity_against_cycle")
        assert any(text.get_text().startswith(named) for text in plot.figure.axes[0].texts), named


def test_capacity_plot_of_a_lab_campaign_shows_running_cells_before_any_objective(view: CampaignView) -> None:
    trials = view.trials.head(2).drop(columns=[OBJECTIVE]).assign(state="testing", evaluator="lab")
    running = replace(view, evaluator="lab", trials=trials, cycling=view.cycling[view.cycling["cycle"] <= 12])
    data = draw(running, "capacity_against_cycle").data
    assert data.loc[data["evaluator"].eq("lab"), "trial_id"].unique().tolist() == ["T001", "T002"]


def test_surface_data_holds_surface_ridge_trials_and_published(view: CampaignView) -> None:
    data = draw(view, "objective_over_speed_time").data
    surface = data[data["what"].eq("surface")]
    assert np.array_equal(surface["mean"], view.surface["mean"])
    assert np.array_equal(data.loc[data["what"].eq("ridge"), "time_h"], view.window["time_h"])
    assert data["what"].value_counts()[["trial", "published"]].to_list() == [24, 15]


def test_points_off_the_map_are_not_drawn_outside_its_frame(view: CampaignView) -> None:
    published = view.published.assign(speed_rpm=0.0, time_h=0.0)
    axes = draw(replace(view, published=published), "objective_over_speed_time").figure.axes[0]
    offsets = [np.asarray(c.get_offsets()) for c in axes.collections if isinstance(c, PathCollection)]
    drawn = np.concatenate([points for points in offsets if len(points)])
    assert (drawn[:, 0] >= 400).all()
    assert (drawn[:, 1] >= 0.5).all()


def test_cells_of_another_active_material_do_not_stand_beside(view: CampaignView) -> None:
    sulfur = view.published["active"].eq("S")
    poor = replace(view, published=view.published[~sulfur])
    assert draw(poor, "sse_comparison").data["best_published"].isna().all()
    assert not draw(poor, "capacity_against_cycle").data["evaluator"].eq("published").any()


def test_a_recipe_that_nobody_mixed_is_not_shown_as_tried(view: CampaignView) -> None:
    trials = view.trials.assign(state=["proposed", *["completed"] * 23])
    axes = draw(replace(view, trials=trials), "objective_over_speed_time").figure.axes[0]
    by_label = {c.get_label(): np.asarray(c.get_offsets()) for c in axes.collections if isinstance(c, PathCollection)}
    planned = by_label["planned, not tried yet"]
    assert planned.tolist() == [[trials["speed_rpm"][0], trials["time_h"][0]]]


def test_parity_holds_every_result_and_the_counts_of_its_intervals(view: CampaignView) -> None:
    data = draw(view, "parity").data
    results = data[data["what"].eq("parity")]
    assert results["found"].to_list() == view.trials[OBJECTIVE].to_list()
    assert results.loc[results["held_90"].eq(other=False), "trial_id"].to_list() == ["T003"]  # flagged: not held
    counts = data[data["what"].eq("calibration")].set_index("level")
    assert counts.loc[0.9, ["held", "results", "chance_low", "chance_high"]].to_list() == [23, 24, 19, 24]


def test_measured_and_simulated_results_look_apart_in_the_parity(view: CampaignView) -> None:
    own = view.diagnosis.parity
    mixed = replace(
        view, diagnosis=replace(view.diagnosis, parity=own.assign(evaluator=["lab"] * 4 + ["physics"] * 20))
    )
    axes = draw(mixed, "parity").figure.axes[0]
    drawn = {c.get_label(): len(c.get_offsets()) for c in axes.collections if isinstance(c, PathCollection)}
    assert drawn == {"lab (measured)": 4, "physics (simulated)": 20, "contradicts the others (flagged)": 1}


def test_sensitivity_puts_the_setting_that_matters_most_first(view: CampaignView) -> None:
    assert draw(view, "sensitivity").data["parameter"].to_list() == ["speed_rpm", "time_h", "sse", "active_wt_pct"]


def test_sse_comparison_puts_the_best_first_and_keeps_the_never_tried(view: CampaignView) -> None:
    data = draw(view, "sse_comparison").data.set_index("sse")
    assert data.index[0] == "LPSClI"
    assert np.isnan(data.loc["SS7", "best_tried"])
    assert data.loc["LPSCl", "best_published"] == pytest.approx(6.21 / (4 / 0.2275) * 1000)


@pytest.mark.parametrize("name", PLOTS)
def test_an_empty_campaign_says_why_there_is_nothing(name: str, view: CampaignView) -> None:
    plot = draw(empty(view), name)
    assert plot.data.empty
    assert plot.caption.endswith(".")


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("suffix", [".png", ".svg", ".html"])
def test_saved_files_are_pictures_with_their_data_beside_them(
    name: str, suffix: str, view: CampaignView, tmp_path: Path
) -> None:
    plot = draw(view, name)
    picture, table = plot.save(tmp_path / "deep" / f"{name}{suffix}")
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".html": b"<!doctype html>"}[suffix]
    assert picture.read_bytes().startswith(start)
    read = pd.read_csv(table)
    assert list(read.columns) == list(plot.data.columns)
    assert len(read) == len(plot.data)


def test_the_same_view_draws_the_same_svg() -> None:
    assert draw(example_view(), "best_so_far").svg() == draw(example_view(), "best_so_far").svg()


def test_wrong_names_are_refused_with_the_right_ones(view: CampaignView, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="did you mean best_so_far"):
        draw(view, "best_sofar")
    with pytest.raises(Refusal, match="PNG, SVG or HTML"):
        draw(view, "best_so_far").save(tmp_path / "plot.jpeg")


def test_a_simulation_is_drawn_with_its_data(view: CampaignView, tmp_path: Path) -> None:
    capacity = np.linspace(0, 6, 50)
    simulation = SimpleNamespace(
        designs=view.trials.set_index("trial_id").loc[["T001", "T002"]],
        cycling=view.cycling[view.cycling["trial_id"].isin(["T001", "T002"])].rename(columns={"trial_id": "design"}),
        curves=pd.concat(
            pd.DataFrame(
                {"design": "T001", "cycle": n, "half": half, "areal_capacity_mAh_cm2": capacity, "voltage_V": 1.2}
            )
            for n in (1, 2, 5, 20, 50, 100)
            for half in ("discharge", "charge")
        ),
    )
    picture = draw_simulation(simulation, tmp_path / "cell.svg")
    data = pd.read_csv(picture.with_suffix(".csv"))
    assert picture.exists()
    assert (data["what"] == "cycling").sum() == 200
    profiles = data[data["what"].eq("profile")]
    assert {1, 100} <= set(profiles["cycle"])
    assert profiles["cycle"].nunique() == 4


def test_measured_and_simulated_differ_in_shape_and_colour() -> None:
    lab, published, simulated = look("lab"), look("published"), look("physics")
    assert len({style["marker"] for style in (lab, published, simulated)}) == 3
    assert lab["color"] == published["color"] != simulated["color"]
    assert look("virtual-lab") == simulated


def test_trials_and_published_cells_are_drawn_with_their_own_marks(view: CampaignView) -> None:
    axes = draw(view, "objective_over_speed_time").figure.axes[0]
    offsets = [c.get_offsets() for c in axes.collections if isinstance(c, PathCollection)]
    drawn = {tuple(point) for group in offsets for point in np.asarray(group)}
    assert set(zip(view.trials["speed_rpm"], view.trials["time_h"], strict=True)) <= drawn
    assert set(zip(view.published["speed_rpm"], view.published["time_h"], strict=True)) <= drawn


def test_a_view_refuses_tables_without_their_columns(view: CampaignView) -> None:
    with pytest.raises(ValueError, match="'surface' lacks column 'sd'"):
        replace(view, surface=view.surface.drop(columns="sd"))


def test_recipe_and_outcome_columns_are_told_apart_for_axes_nobody_foresaw(view: CampaignView) -> None:
    trials = pd.DataFrame(
        {"trial_id": ["a"], "evaluator": ["lab"], "state": ["completed"], "humidity_pct": [3.0], "x": [1.0]}
    )
    odd = CampaignView(
        name="odd", evaluator="lab", provenance=view.provenance, trials=trials,
        objective=Objective(name="x", label="X", unit="-"), space=(Axis(name="humidity_pct", low=0, high=5),),
    )  # fmt: skip
    assert odd.recipe_columns(trials) == ["humidity_pct"]
    assert odd.outcome_columns(trials) == ["x"]


def test_a_time_without_zone_is_refused(view: CampaignView) -> None:
    with pytest.raises(ValueError, match="time zone"):
        Provenance(made_at=view.provenance.made_at.replace(tzinfo=None))


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=12), st.floats(0.1, 5))
def test_spread_labels_keep_their_order_and_their_distance(positions: list[float], gap: float) -> None:
    placed = spread(positions, gap)
    order = np.argsort(positions, kind="stable")
    assert (np.diff(np.array(placed)[order]) >= gap - 1e-6).all()
    if (np.diff(np.sort(positions)) > gap).all():
        assert placed == pytest.approx(positions, abs=1e-8)
