"""Where the discrepancy lies on disk: `discrepancy.csv` (its sizes with their priors) and `residuals.csv` (the rows seen)."""

from __future__ import annotations

import csv
from dataclasses import astuple, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from campaign.errors import Refusal
from models.discrepancy import NAMES, SCALES, Discrepancy, Seen, Sizes, Terms

_FOLDER = Path(__file__).parent
SIZES, RESIDUALS = "discrepancy.csv", "residuals.csv"
_COLUMNS = ("name", "unit", "prior", "prior_sd", "posterior", "tag", "source")
_OF_A_ROW = [field.name for field in fields(Terms) if field.name != "u"]


@lru_cache(maxsize=1)
def prior() -> Discrepancy:
    """The discrepancy before any calibration: ours, its sizes at their priors."""
    rows = _rows(_FOLDER)
    middle, width = (Sizes(*(float(row[key]) for row in rows)) for key in ("prior", "prior_sd"))
    return Discrepancy(middle, middle, width)


def load(folder: Path, parameters: int) -> Discrepancy:
    """Read sizes and rows seen; `parameters` is how many are free.

    Raises:
        Refusal: the files are not those of this version.
    """
    sizes = Sizes(*(float(row["posterior"]) for row in _rows(folder)))
    file = folder / RESIDUALS
    if not file.exists():
        return replace(prior(), sizes=sizes)
    with file.open(newline="", encoding="utf-8") as stream:
        header, *lines = csv.reader(stream)
    if len(header) != len(SCALES) + len(_OF_A_ROW) + 1 + parameters:
        raise Refusal(f"{file}: its columns are not those of this version; calibrate again")
    table = torch.as_tensor(np.array(lines, dtype=float).reshape(len(lines), len(header)))
    u, rest = table[:, : len(SCALES)], table[:, len(SCALES) :]
    terms = Terms(u, *rest[:, : len(_OF_A_ROW)].T)
    return replace(prior(), sizes=sizes, seen=Seen(terms, rest[:, len(_OF_A_ROW)], rest[:, len(_OF_A_ROW) + 1 :]))


def save(known: Discrepancy, folder: Path) -> None:
    """Write sizes and rows seen into a folder."""
    rows = _rows(_FOLDER)
    with (folder / SIZES).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row, value in zip(rows, astuple(known.sizes), strict=True):
            writer.writerow(row | {"posterior": f"{value:.4g}"})
    file, seen = folder / RESIDUALS, known.seen
    if seen is None:
        file.unlink(missing_ok=True)
        return
    columns = [getattr(seen.terms, name)[:, None] for name in _OF_A_ROW]
    table = torch.cat([seen.terms.u, *columns, seen.residual[:, None], seen.jacobian], -1)
    slopes = [f"slope_{k}" for k in range(seen.jacobian.shape[1])]
    with file.open("w", newline="", encoding="utf-8") as stream:
        table_writer = csv.writer(stream, lineterminator="\n")
        table_writer.writerow([*SCALES, *_OF_A_ROW, "residual", *slopes])
        table_writer.writerows([[f"{cell:.4g}" for cell in row] for row in table.tolist()])


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / SIZES).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if tuple(row["name"] for row in rows) != NAMES or tuple(rows[0]) != _COLUMNS:
        raise Refusal(f"{folder / SIZES}: its rows must be {', '.join(NAMES)} with the columns {', '.join(_COLUMNS)}")
    return rows
