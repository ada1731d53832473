"""Commands that ask the physics model: `simulate` a recipe, its best `window`, `facts` beside it, `calibrate` it."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import click
import pandas as pd

from campaign import materials as material_tables
from campaign import quantity, recipe
from campaign.errors import Refusal
from flows.cli.output import campaign_argument, emit_json, emit_table, json_option, note, number

_FLAGS: tuple[tuple[str, type, str], ...] = (
    ("speed_rpm", float, "Speed of the mixer; 0 with --time-h 0 is a hand-mixed control."),
    ("time_h", float, "Net hours of rotation."),
    ("active", str, "S, Se, SeS2, Te, or none for a control."),
    ("active_wt_pct", float, "Share of the active in the composite."),
    ("carbon_wt_pct", float, "Share of the carbon; without it 50 - active, as published."),
    ("sse", str, "Solid electrolyte."),
    ("carbon", str, "Carbon, or none for a control."),
    ("mixer", str, "Mixer."),
    ("ball_ratio", float, "Balls to powder by weight."),
    ("duty", float, "Rotating share of the clock."),
    ("premill_h", float, "Hours the electrolyte was milled alone before."),
    ("premill_speed_rpm", float, "Speed of that milling."),
    ("heat_C", float, "Temperature of a heating step after mixing."),
    ("heat_h", float, "Hours of it."),
    ("loading_mg_cm2", float, "Active per area (of SSE in a control without active)."),
    ("current_mA_cm2", float, "Current per area."),
    ("stack_pressure_MPa", float, "Stack pressure."),
    ("temperature_C", float, "Cell temperature."),
    ("anode", str, "Li-In or Li."),
    ("cycles", int, "Cycles to simulate."),
)


def _recipe_flags(command: Any) -> Any:
    for name, kind, text in reversed(_FLAGS):
        command = click.option(f"--{name.replace('_', '-')}", name, type=kind, help=text)(command)
    return command


@click.command()
@_recipe_flags
@click.option("--draws", default=200, show_default=True, help="Posterior draws behind the 5-95 % band.")
@click.option(
    "--materials", "own", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CSV of your own SSEs."
)
@click.option(
    "--plot", "plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw capacity and voltage (PNG, SVG)."
)
@json_option
def simulate(draws: int, own: Path | None, plot: Path | None, as_json: bool, **flags: Any) -> None:
    """Simulate one recipe: its composite, its cycling record and its outcomes with their bands.

    What is not given takes the published recipe's value.
    """
    from models.simulate import simulate as run

    known = material_tables.load({"electrolytes": own.resolve()} if own else None)
    given = {name: [value] for name, value in flags.items() if value is not None}
    designs = recipe.complete(pd.DataFrame(given, index=[0]), known)
    result = run(designs, draws=draws, materials=known)
    row = designs.iloc[0]
    document = {
        "recipe": row[list(recipe.RECIPE_COLUMNS)],
        "protocol": row[list(recipe.PROTOCOL_COLUMNS)],
        "composite": result.composite.iloc[0],
        "cycling": result.cycling.drop(columns="design"),
        "outcome": banded(result.outcome.iloc[0]),
        "warnings": list(result.warnings[0]),
    }
    if plot is not None:
        from review import plots

        note(f"plot: {plots.draw_simulation(result, plot)}")
    if as_json:
        emit_json(document)
        return
    _print_simulation(document)


def banded(outcome: pd.Series) -> dict[str, dict[str, Any]]:
    """Gather `x`, `x_p05`, `x_p95` of an outcome row into one entry an outcome."""
    names = [str(name) for name in outcome.index if not str(name).endswith(("_p05", "_p95"))]
    return {
        name: {"value": outcome[name], "p05": outcome.get(f"{name}_p05"), "p95": outcome.get(f"{name}_p95")}
        for name in names
    }


def _print_simulation(document: dict[str, Any]) -> None:
    outcome = pd.DataFrame.from_dict(document["outcome"], orient="index")
    states = [name for name in outcome.index if name in document["composite"].index]
    for title, names in (
        ("outcome (simulated)", outcome.index.difference(states, sort=False)),
        ("composite (simulated)", states),
    ):
        table = outcome.loc[names]
        units = [quantity.split(str(name))[1] for name in names]
        emit_table(table.assign(unit=units).rename_axis(title).reset_index())
        click.echo()
    click.echo(
        "value: the physics at its most probable parameters; p05 to p95: 90 % band, what it does not know included"
    )
    click.echo()
    cycling = document["cycling"]
    shown = cycling[
        cycling["cycle"].isin([1, 2, 5, 10, 20, 50, 100, 200, 450]) | (cycling["cycle"] == cycling["cycle"].max())
    ]
    emit_table(shown.rename(columns={"cycle": "cycle (simulated)"}))
    for sentence in document["warnings"]:
        note(f"warning: {sentence}")


@click.command()
@_recipe_flags
@click.option(
    "--outcome",
    default="discharge_capacity_cycle_100_mAh_g_composite",
    show_default=True,
    help="What is to be as large as possible.",
)
@click.option("--tolerance", default=0.05, show_default=True, help="Share below the best that still counts as best.")
@click.option("--draws", default=200, show_default=True, help="Worlds behind the bands.")
@click.option(
    "--materials", "own", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CSV of your own SSEs."
)
@json_option
def window(outcome: str, tolerance: float, draws: int, own: Path | None, as_json: bool, **flags: Any) -> None:
    """Show the best speed and time of a recipe by the physics alone, with band and ridge of equivalents.

    Speed and time are searched within what the physics speaks of; what else is not given takes the published value.
    """
    from models.window import best_window

    for name in ("speed_rpm", "time_h"):
        if flags.pop(name) is not None:
            raise Refusal(f"--{name.replace('_', '-')} is what is searched here; leave it out (or ask `simulate`)")
    known = material_tables.load({"electrolytes": own.resolve()} if own else None)
    given = {name: value for name, value in flags.items() if value is not None}
    found = best_window(given, outcome=outcome, tolerance=tolerance, draws=draws, materials=known)
    if as_json:
        emit_json(
            {
                "evaluator": "physics",
                "outcome": outcome,
                "speed_rpm": found.speed_rpm,
                "time_h": found.time_h,
                "value": found.value,
                "time_band_h": list(found.time_band_h),
                "speed_band_rpm": list(found.speed_band_rpm),
                "bounds": found.bounds,
                "ridge": found.ridge,
            }
        )
        return
    for sentence in found.sentences():
        click.echo(sentence)
    click.echo()
    emit_table(found.ridge.rename(columns={"median": f"median (simulated) {outcome}"}), digits=3)


@click.command()
@click.option(
    "--rows", type=click.Path(dir_okay=False, path_type=Path), help="Score this file instead of the paper's rows."
)
@json_option
def facts(rows: Path | None, as_json: bool) -> None:
    """Show the paper's rows (or a file with the same columns) beside the model's, with residuals; never refits."""
    from models import facts as scorecard

    if rows is not None and not rows.is_file():
        raise Refusal(f"there is no file {rows}")
    scored = scorecard.score(scorecard.read(rows))
    if as_json:
        emit_json(scored)
        return
    emit_table(_for_people(scored))
    for sentence in scorecard.summary(scored):
        click.echo(sentence)
    click.echo(
        "model, p05, p95 are simulated; rows whose use is fit or range were fitted: these are no blind figures for them"
    )
    for row in scored[scored["verdict"].eq("not modelled")].to_dict("records"):
        note(f"{row['id']} {row['observable']}: not modelled, {row['note_of_model']}")


@click.command()
@campaign_argument
@click.option("--starts", default=4, show_default=True, type=click.IntRange(1, 64), help="Starts of the fit.")
@click.option(
    "--leave-one-out/--no-leave-one-out", default=True, help="Also fit without each mix in turn.", show_default=True
)
@json_option
def calibrate(campaign: str, starts: int, leave_one_out: bool, as_json: bool) -> None:
    """Refit the physics to the campaign's own measurements: residuals, what they tell, errors on mixes left out.

    The campaign's prior uses the result from then on.
    """
    from flows import calibration
    from flows.session import open_session
    from models import calibration_report as report

    found = calibration.calibrate(open_session(campaign, write=False), starts=starts, leave_one_out=leave_one_out)
    if as_json:
        emit_json(
            {
                "rows": found.scored,
                "left_out": found.left_out,
                "folder": str(found.folder),
                "parameters": found.fit.table(),
                "eigenvalues": found.fit.eigenvalues.tolist(),
            }
        )
        return
    for line in report.calibration_lines(found.fit):
        click.echo(line)
    click.echo("\nmeasured rows beside the fit (p05 to p95: 90 % band of the model)")
    emit_table(_for_people(found.scored), digits=3)
    for line in report.figure_lines("fitted rows", found.scored):
        click.echo(line)
    if found.left_out is not None:
        click.echo("\neach mix left out in turn: what the fit to the others says of it")
        emit_table(_for_people(found.left_out), digits=3)
        for line in report.figure_lines("rows left out", found.left_out):
            click.echo(line)
    click.echo(f"written to {found.folder}; this campaign's physics uses it from now on")


def _for_people(scored: pd.DataFrame) -> pd.DataFrame:
    """The columns that fit a screen: which recipe, what was measured, what the model says, how far apart."""
    rows = scored.to_dict("records")
    kept = scored[["id", "observable", "cycle", "unit", "model", "p05", "p95", "residual", "verdict"]]
    kept = kept.assign(recipe=[_recipe_words(row) for row in rows])
    kept["residual"] = kept["residual"].round(3)
    kept["measured"] = [f"{row['relation']} {number(row['value'])}" for row in rows]
    return kept[
        ["id", "recipe", "observable", "cycle", "measured", "model", "p05", "p95", "unit", "residual", "verdict"]
    ]


def _recipe_words(row: dict[Hashable, Any]) -> str:
    """A recipe in a few words; only what departs from plain mixing is said."""

    def given(name: str) -> bool:
        return not pd.isna(row.get(name)) and row[name] not in (0, "0")

    words = f"{row['active']} {row['sse']} {number(row['speed_rpm'])}rpm {number(row['time_h'])}h"
    if given("heat_C"):
        words += f" +{number(row['heat_C'])}C"
    return words + (" premilled" if given("premill_h") else "")
