"""Write the lab sheet: one row a trial, bounds as cell validation, a page of instructions and one of weighed grams."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import xlsxwriter
from xlsxwriter.utility import xl_range

from campaign.errors import Refusal
from campaign.recipe import DESIGN_COLUMNS, complete
from ingest import sheet_columns as layout
from ingest.sheet_columns import Column
from ingest.spreadsheet_text import inert

_SPARE_ROWS = 40
_SAFETY = (
    "Sulfide electrolytes give off H2S with moist air: weigh, mix and open the jar in the glovebox or a dry room "
    "only; keep a H2S alarm near.",
    "Let the jar cool to room temperature before you open it; it may be hot and under pressure.",
    "Se, Te and their compounds are toxic by dust: closed containers, gloves, no sweeping.",
    "Fine carbon and sulfur dust can burn: no sparks, no open balance in air draught.",
)
_STEPS = (
    "1. Weigh each row of the sheet 'Weighing'. Type the balance readings on the sheet 'Trials' (white columns, "
    "grams).",
    "2. Mix. Net hours are hours of rotation; the clock runs longer (see 'Weighing'). If speed or time was not as "
    "asked, type what was done.",
    "3. Build the cell. Type cell id, channel, active mass (mg of S, Se or Te in this cell) and area (cm2).",
    "4. More than one cell of a mix: copy the whole row and give it another cell id. Rows may be sorted, copied, or "
    "left out.",
    "5. Leave empty what is not known yet; hand the sheet in as often as you like (mixwright ingest CAMPAIGN "
    "this-file.xlsx).",
    "6. Put the name of the cycler file into 'file', or put the cell id into the name of the file.",
    "7. Dates as 2026-03-04 10:30, in the local time of the lab. Numbers without a unit. No formulas: paste values.",
)


def write_sheet(
    path: Path,
    trials: pd.DataFrame,
    *,
    space_bounds: Mapping[str, tuple[float, float]],
    batch_mass_g: float = 1.0,
    outcomes: Sequence[str] = ("discharge_capacity_cycle_1_mAh", "discharge_capacity_cycle_2_mAh"),
    filled: Mapping[str, Mapping[str, Any]] | None = None,
    campaign_name: str = "",
) -> None:
    """Write a sheet that a technician can fill without a manual.

    Args:
        path: a `.xlsx` file that does not exist yet.
        trials: one row a trial, indexed by trial id; columns are any subset of the design columns, plus `state` if known.
        space_bounds: (low, high) for numeric recipe columns; outside them the sheet warns and lets it stand.
        batch_mass_g: grams of composite in one mix.
        outcomes: outcome columns, names ending in their unit.
        filled: what the ledger knows of a trial already (trial id -> column key -> value), written into the white columns.
        campaign_name: written into the instructions.

    Raises:
        Refusal: no trial, a repeated id, a file that exists already, or a folder that cannot be written.
    """
    if trials.empty:
        raise Refusal("there is no trial to write onto a sheet")
    if not trials.index.is_unique:
        raise Refusal(f"trial {trials.index[trials.index.duplicated()][0]} stands twice in the list for the sheet")
    if not (math.isfinite(batch_mass_g) and batch_mass_g > 0):
        raise Refusal(f"batch mass {batch_mass_g:g} g must be more than 0")
    refuse_place(path)
    designs = complete(trials[[name for name in trials.columns if name in DESIGN_COLUMNS]])
    states = trials["state"] if "state" in trials else pd.Series("issued", index=trials.index)
    book = xlsxwriter.Workbook(
        str(path), {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    )
    book.set_properties({"title": inert(f"Lab sheet {campaign_name}".strip()), "comments": "Written by Mixwright"})
    book.set_custom_property(layout.MARKER, layout.VERSION)
    writer = _Writer(book, layout.columns(tuple(outcomes)), space_bounds)
    writer.trials(designs, states, filled or {})
    writer.weighing(designs, batch_mass_g)
    writer.instructions(campaign_name)
    try:
        book.close()
    except xlsxwriter.exceptions.FileCreateError as error:
        raise Refusal(f"{path}: cannot be written ({error})") from None


def refuse_place(path: Path) -> None:
    """Refuse a place where no lab sheet can be written; asked before trials are proposed for it, too."""
    if path.suffix.lower() != ".xlsx":
        raise Refusal(f"{path.name}: a lab sheet is an Excel file; give it a name that ends in .xlsx")
    if path.exists():
        raise Refusal(f"{path}: exists already; it may hold what the lab typed, so choose another name")
    if not path.parent.exists():
        raise Refusal(f"{path.parent}: this folder does not exist")


class _Writer:
    """The three pages of one workbook and the formats they share."""

    def __init__(self, book: Any, columns: tuple[Column, ...], bounds: Mapping[str, tuple[float, float]]) -> None:
        self.book = book
        self.columns = columns
        self.bounds = bounds
        border = {"border": 1, "border_color": "#BFBFBF", "valign": "top"}
        self.head = book.add_format({**border, "bold": True, "text_wrap": True, "bg_color": "#D9E1F2"})
        self.head_open = book.add_format({**border, "bold": True, "text_wrap": True, "bg_color": "#E2EFDA"})
        self.locked = book.add_format({**border, "bg_color": "#F2F2F2", "font_color": "#404040"})
        self.open = book.add_format({**border, "locked": False})
        self.open_text = book.add_format({**border, "locked": False, "num_format": "@"})
        self.wrap = book.add_format({"text_wrap": True, "valign": "top"})
        self.bold = book.add_format({"bold": True})

    def trials(self, designs: pd.DataFrame, states: pd.Series, filled: Mapping[str, Mapping[str, Any]]) -> None:
        page = self.book.add_worksheet(layout.SHEET)
        last = len(designs) + _SPARE_ROWS
        for position, column in enumerate(self.columns):
            page.write_string(
                0, position, column.header, self.head if column.group in ("id", "asked") else self.head_open
            )
            page.set_column(position, position, 16 if column.kind in ("text", "date") else 12)
            self._validate(page, position, column, last)
        page.set_row(0, 48)
        for row, ((trial, asked), said) in enumerate(zip(designs.iterrows(), states, strict=True), start=1):
            values = {**filled.get(str(trial), {}), "state": said}
            for position, column in enumerate(self.columns):
                self._cell(
                    page,
                    row,
                    position,
                    self._value(column, str(trial), {str(name): cell for name, cell in asked.items()}, values),
                    column,
                )
        for row in range(len(designs) + 1, last + 1):
            for position, column in enumerate(self.columns):
                page.write_blank(row, position, None, self.open_text if column.kind in ("text", "date") else self.open)
        page.freeze_panes(1, 2)
        page.autofilter(0, 0, len(designs), len(self.columns) - 1)
        page.protect(
            "",
            {
                "sort": True,
                "autofilter": True,
                "format_columns": True,
                "format_rows": True,
                "insert_rows": True,
                "delete_rows": True,
            },
        )

    @staticmethod
    def _value(column: Column, trial: str, asked: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
        if column.key == "trial":
            return trial
        if column.key == "check":
            return layout.checksum(trial, asked)
        return asked[column.key] if column.group == "asked" else values.get(column.key)

    def _cell(self, page: Any, row: int, position: int, value: Any, column: Column) -> None:
        fixed = column.group in ("id", "asked")
        form = self.locked if fixed else (self.open_text if column.kind in ("text", "date") else self.open)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            page.write_blank(row, position, None, form)
        elif isinstance(value, str):
            page.write_string(row, position, inert(value), form)
        else:
            page.write_number(row, position, float(f"{float(value):.6g}"), form)

    def _validate(self, page: Any, position: int, column: Column, last: int) -> None:
        where = xl_range(1, position, last, position)
        title = column.title[:32]
        if column.kind == "state":
            page.data_validation(
                where,
                {"validate": "list", "source": list(layout.STATES), "input_title": title, "input_message": column.help},
            )
        elif column.kind == "number" and column.group not in ("id", "asked"):
            low, high = (
                self.bounds.get(column.key, (column.low, column.high))
                if column.group == "done"
                else (column.low, column.high)
            )
            told = (
                f"{column.help}. Between {low:g} and {high:g} {column.unit}."[:255]
                if math.isfinite(low)
                else column.help[:255]
            )
            limits = {"criteria": "between", "minimum": max(low, -1e12), "maximum": min(high, 1e12)}
            page.data_validation(
                where,
                {
                    "validate": "decimal",
                    **limits,
                    "input_title": title,
                    "input_message": told,
                    "error_type": "warning",
                    "error_title": "Outside the range",
                    "error_message": f"Expected {low:g} to {high:g} {column.unit}. Keep it if it is what was done.",
                },
            )
        elif column.group not in ("id", "asked"):
            page.data_validation(where, {"validate": "any", "input_title": title, "input_message": column.help[:255]})

    def weighing(self, designs: pd.DataFrame, batch_mass_g: float) -> None:
        page = self.book.add_worksheet(layout.WEIGHING)
        table = weighing_table(designs, batch_mass_g)
        for position, name in enumerate(table.columns):
            page.write_string(0, position, name, self.head)
            page.set_column(position, position, 15)
            for row, value in enumerate(table[name], start=1):
                self._cell(page, row, position, value if isinstance(value, str) else float(value), layout.ID_COLUMNS[0])
        page.set_row(0, 48)
        page.freeze_panes(1, 1)

    def instructions(self, campaign_name: str) -> None:
        page = self.book.add_worksheet(layout.INSTRUCTIONS)
        page.set_column(0, 0, 34)
        page.set_column(1, 1, 90)
        page.write_string(0, 0, inert(f"How to fill this sheet {campaign_name}".strip()), self.bold)
        row = 1
        for line in (*_STEPS, "", "Safety", *_SAFETY, "", "States"):
            page.write_string(row, 0, line if line in ("Safety", "States") else "", self.bold)
            page.write_string(row, 1, "" if line in ("Safety", "States") else line, self.wrap)
            row += 1
        for state, meaning in layout.STATES.items():
            page.write_string(row, 0, state)
            page.write_string(row, 1, meaning, self.wrap)
            row += 1
        page.write_string(row + 1, 0, "Columns", self.bold)
        for offset, column in enumerate((c for c in self.columns if c.group != "asked"), start=row + 2):
            page.write_string(offset, 0, column.header)
            page.write_string(offset, 1, column.help, self.wrap)


def weighing_table(designs: pd.DataFrame, batch_mass_g: float) -> pd.DataFrame:
    """Return what to put on the balance, per trial: grams of each part, of balls, and hours on the clock.

    Mass of a part = batch mass x its share; balls = batch mass x ball ratio; clock time = net hours, premilling too, / duty.
    """
    table = pd.DataFrame(index=designs.index)
    table["trial"] = [str(trial) for trial in designs.index]
    for part, name in (("active", "active"), ("sse", "SSE"), ("carbon", "carbon")):
        table[name] = designs[part].astype(str)
        table[f"{name} (g)"] = (designs[f"{part}_wt_pct"] / 100.0 * batch_mass_g).round(5)
    table["batch (g)"] = batch_mass_g
    table["balls (g)"] = (designs["ball_ratio"] * batch_mass_g).round(4)
    table["mixer"] = designs["mixer"].astype(str)
    table["speed (rpm)"] = designs["speed_rpm"]
    table["net mixing time (h)"] = designs["time_h"]
    table["duty (share of the clock)"] = designs["duty"]
    table["time on the clock (h)"] = ((designs["time_h"] + designs["premill_h"]) / designs["duty"]).round(3)
    table["premill (h at rpm)"] = [
        f"{h:g} h at {rpm:g} rpm" if h > 0 else "none"
        for h, rpm in zip(designs["premill_h"], designs["premill_speed_rpm"], strict=True)
    ]
    table["heat after mixing"] = [
        f"{h:g} h at {c:g} degC" if h > 0 else "none" for h, c in zip(designs["heat_h"], designs["heat_C"], strict=True)
    ]
    return table.reset_index(drop=True)
