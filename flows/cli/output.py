"""How results are printed: a table for people, JSON for programs, both on stdout."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

import click
import pandas as pd

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")

own_lab_option = click.option(
    "--lab", "lab_file", help="Labs of your own: FILE.py:factory, a function factory(seed, level). The file is run."
)


def campaign_argument(command: F) -> F:
    """The campaign file, first argument of most commands."""
    return click.argument("campaign", type=click.Path(dir_okay=False))(command)


def note(text: str) -> None:
    """Say something about the work on stderr."""
    click.echo(text, err=True)


def emit_json(data: Any) -> None:
    """Print data as JSON; what is not a finite number becomes null."""
    click.echo(json.dumps(plain(data), indent=2, ensure_ascii=False))


def plain(data: Any) -> Any:
    """Turn pandas and numpy values into what JSON can hold."""
    if isinstance(data, pd.DataFrame):
        return [plain(row) for row in data.to_dict("records")]
    if isinstance(data, pd.Series):
        return plain(data.to_dict())
    if isinstance(data, dict):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    if hasattr(data, "item") and callable(data.item):
        return plain(data.item())
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if data is None or isinstance(data, str | bool | int):
        return data
    if data is pd.NaT or data is pd.NA:
        return None
    return str(data)


def number(value: Any, digits: int = 4) -> str:
    """Print a number with a fixed count of significant digits; nothing where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e6):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def emit_table(table: pd.DataFrame, *, digits: int = 4) -> None:
    """Print a table with aligned columns, numbers to the right."""
    cells = [[number(value, digits) for value in row] for row in table.itertuples(index=False)]
    header = [str(name) for name in table.columns]
    widths = [max(len(row[i]) for row in [header, *cells]) for i in range(len(header))]
    right = [pd.api.types.is_numeric_dtype(table.iloc[:, i]) for i in range(len(header))]

    def line(row: list[str]) -> str:
        pads = [t.rjust(w) if r else t.ljust(w) for t, w, r in zip(row, widths, right, strict=True)]
        return "  ".join(pads).rstrip()

    click.echo(line(header))
    click.echo("  ".join("-" * width for width in widths))
    for row in cells:
        click.echo(line(row))
