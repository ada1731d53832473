"""Commands that ask the physics model: `simulate` one recipe, `facts` against the paper's rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pandas as pd

from campaign import materials as material_tables
from campaign import recipe
from campaign.errors import Refusal
from flows.cli.output import campaign_argument, emit_json, emit_table, json_option, note

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
    outcome = (
        pd.DataFrame.from_dict(document["outcome"], orient="index").rename_axis("outcome (simulated)").reset_index()
    )
    emit_table(outcome)
    click.echo()
    composite = (
        pd.Series(document["composite"], dtype=object).rename_axis("composite (simulated)").reset_index(name="value")
    )
    emit_table(composite)
    click.echo()
    cycling = document["cycling"]
    shown = cycling[
        cycling["cycle"].isin([1, 2, 5, 10, 20, 50, 100, 200, 450]) | (cycling["cycle"] == cycling["cycle"].max())
    ]
    emit_table(shown)
    for sentence in document["warnings"]:
        note(f"warning: {sentence}")


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


@click.command()
@campaign_argument
@click.option("--starts", default=2, show_default=True, type=click.IntRange(1, 64), help="Starts of the fit.")
@json_option
def calibrate(campaign: str, starts: int, as_json: bool) -> None:
    """Refit the physics to the campaign's own measurements, with uncertainty; its prior uses it from then on."""
    from flows import calibration
    from flows.session import open_session

    found = calibration.calibrate(open_session(campaign, write=False), starts=starts)
    if as_json:
        emit_json({"rows": len(found.rows), "folder": str(found.folder), "parameters": found.table})
        return
    emit_table(found.table)
    fitted = int(found.rows["use"].isin(["fit", "range"]).sum())
    click.echo(
        f"{fitted} of {len(found.rows)} measured rows fitted; {int(found.table['identified'].sum())} of {len(found.table)} "
        f"parameters are identified, the others stand at their prior. Written to {found.folder}"
    )


def _for_people(scored: pd.DataFrame) -> pd.DataFrame:
    """The columns that fit a screen: which recipe, what was measured, what the model says, how far apart."""
    recipe_words = [
        f"{row['active']} {row['sse']} {row['speed_rpm']:g}rpm {row['time_h']:g}h"
        + (f" +{row['heat_C']:g}C" if row["heat_h"] > 0 else "")
        + (" premilled" if row["premill_h"] > 0 else "")
        for row in scored.to_dict("records")
    ]
    measured = [f"{row['relation']} {row['value']:.4g}" for row in scored.to_dict("records")]
    kept = scored[["id", "observable", "cycle", "unit", "model", "p05", "p95", "residual", "verdict"]]
    return kept.assign(recipe=recipe_words, measured=measured)[
        ["id", "recipe", "observable", "cycle", "measured", "model", "p05", "p95", "residual", "verdict"]
    ]
