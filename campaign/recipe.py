"""Recipes and protocols as a design table: defaults of the published work, and the checks that need no physics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import yaml

from campaign.errors import Refusal
from campaign.materials import Materials
from campaign.names import nearest

CARBON_PLUS_ACTIVE_WT_PCT = 50.0
"""Published composition rule: SSE 50 wt%, so carbon = 50 - active."""

_PUBLISHED = yaml.safe_load((Path(__file__).parent / "published.yaml").read_text(encoding="utf-8"))

PUBLISHED_RECIPE: Mapping[str, Any] = MappingProxyType(_PUBLISHED["recipe"])
"""The recipe of the paper; what a caller leaves out takes this value."""

PUBLISHED_PROTOCOL: Mapping[str, Any] = MappingProxyType(_PUBLISHED["protocol"])
"""The protocol of the paper: loading and current, temperature, pressure, anode."""

RECIPE_COLUMNS = (*list(PUBLISHED_RECIPE)[:6], "carbon_wt_pct", *list(PUBLISHED_RECIPE)[6:])
PROTOCOL_COLUMNS = tuple(PUBLISHED_PROTOCOL)
DESIGN_COLUMNS = RECIPE_COLUMNS + PROTOCOL_COLUMNS
TEXT_COLUMNS = ("active", "sse", "carbon", "mixer", "anode")
_MAY_BE_NAN = ("heat_C",)


def complete(table: pd.DataFrame, materials: Materials | None = None) -> pd.DataFrame:
    """Fill a design table with the published values where a column is absent, and check every cell.

    Args:
        table: n rows; any subset of `DESIGN_COLUMNS`. Further columns are refused.
        materials: where given, names of materials are checked against it.

    Returns:
        A new table, n rows, exactly `DESIGN_COLUMNS`, same index.

    Raises:
        Refusal: an unknown column, a cell that is no finite number, a negative value, shares that do not sum to 100.
    """
    unknown = [name for name in table.columns if name not in DESIGN_COLUMNS]
    if unknown:
        raise Refusal(
            f"column {unknown[0]!r} is no part of a recipe or protocol: {nearest(str(unknown[0]), DESIGN_COLUMNS)}"
        )
    full = table.copy()
    for name, value in {**PUBLISHED_RECIPE, **PUBLISHED_PROTOCOL}.items():
        if name not in full:
            full[name] = value
    for name in DESIGN_COLUMNS:
        if name not in TEXT_COLUMNS and name in full:
            full[name] = _numbers(full[name], name)
    no_active = full["active"].eq("none")
    if "active_wt_pct" not in table:
        full.loc[no_active, "active_wt_pct"] = 0.0
    if "carbon_wt_pct" not in full:
        no_carbon = full["carbon"].eq("none")
        full["carbon_wt_pct"] = 100.0 - full["sse_wt_pct"] - full["active_wt_pct"]
        full.loc[no_carbon, "carbon_wt_pct"] = 0.0
        _check_balance(full)
        if "sse_wt_pct" not in table:
            full.loc[no_carbon, "sse_wt_pct"] = 100.0 - full.loc[no_carbon, "active_wt_pct"]
    if "sse_wt_pct" not in table and "carbon_wt_pct" in table:
        full["sse_wt_pct"] = 100.0 - full["active_wt_pct"] - full["carbon_wt_pct"]
    full["cycles"] = full["cycles"].astype(int)
    _check_shares(full)
    if materials is not None:
        _check_names(full, materials)
    return full[list(DESIGN_COLUMNS)]


def _numbers(column: pd.Series, name: str) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    for label, given, value in zip(column.index, column, numbers, strict=True):
        if (math.isnan(value) and name not in _MAY_BE_NAN) or math.isinf(value):
            raise Refusal(f"row {label}, column {name}: {given!r} is not a finite number")
        if value < 0:
            raise Refusal(f"row {label}, column {name}: {value:g} is negative; it must be 0 or more")
    return numbers


def _check_balance(full: pd.DataFrame) -> None:
    short = full["carbon_wt_pct"] < -1e-9
    if short.any():
        row = full[short].iloc[0]
        raise Refusal(
            f"row {full.index[short][0]}: active_wt_pct {row.active_wt_pct:g} and sse_wt_pct {row.sse_wt_pct:g} leave "
            f"{row.carbon_wt_pct:g} wt% for the carbon; together they must stay below 100"
        )
    full["carbon_wt_pct"] = full["carbon_wt_pct"].clip(lower=0.0)


def _check_shares(full: pd.DataFrame) -> None:
    total = full["active_wt_pct"] + full["sse_wt_pct"] + full["carbon_wt_pct"]
    wrong = (total - 100.0).abs() > 0.1
    if wrong.any():
        row = full[wrong].iloc[0]
        raise Refusal(
            f"row {full.index[wrong][0]}: active {row.active_wt_pct:g} + SSE {row.sse_wt_pct:g} + carbon "
            f"{row.carbon_wt_pct:g} wt% sum to {total[wrong].iloc[0]:g}, not 100"
        )
    for kind in ("active", "carbon"):
        odd = full[kind].eq("none") & full[f"{kind}_wt_pct"].gt(0)
        if odd.any():
            share = full.loc[odd, f"{kind}_wt_pct"].iloc[0]
            raise Refusal(f"row {full.index[odd][0]}: {kind} is 'none' but {kind}_wt_pct is {share:g}; it must be 0")


def _check_names(full: pd.DataFrame, materials: Materials) -> None:
    for name in full["sse"].unique():
        materials.electrolyte(name)
    for name in full["active"].unique():
        if name != "none":
            materials.active(name)
    for name in full["carbon"].unique():
        if name != "none":
            materials.carbon(name)
    for name in full["mixer"].unique():
        materials.mixer(name)
    for name in full["anode"].unique():
        materials.anode(name)
