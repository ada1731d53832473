"""Binary files whose readers are libraries: Neware by fastnda, parquet by pyarrow, Access databases by access-parser."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from campaign.errors import Refusal
from ingest.limits import Limits
from ingest.series import Series
from ingest.tables import Columns, Table

_ARBIN_TABLE = "Channel_Normal_Table"


def neware(path: Path, place: str, *, suffix: str) -> tuple[Series, dict[str, str]]:
    """Read a Neware .nda or .ndax file: time is `total_time_s` (its wall clock can jump back), charge is positive."""
    if importlib.util.find_spec("fastnda") is None:
        raise Refusal(
            f"{place}: is a Neware {suffix} file, which needs fastnda (pip install 'mixwright[neware]'); or export "
            "it as CSV"
        )
    import fastnda

    named = path.with_suffix(suffix)
    path.rename(named)  # fastnda tells the two formats by their suffix
    frame = fastnda.read(named, cycle_mode="raw")
    index = frame["index"].to_numpy().astype(float)
    wrong = np.flatnonzero(np.diff(index) != 1)
    if len(wrong):
        raise Refusal(
            f"{place}: record {index[wrong[0]]:g} is followed by {index[wrong[0] + 1]:g}; the file is damaged or cut "
            "off"
        )
    column = {
        name: frame[name].to_numpy().astype(float)
        for name in (
            "total_time_s",
            "current_mA",
            "voltage_V",
            "step_time_s",
            "capacity_mAh",
            "cycle_count",
            "step_count",
        )
    }
    for name in ("total_time_s", "current_mA", "voltage_V"):
        if not np.isfinite(column[name]).all():
            raise Refusal(f"{place}: {name} holds a value that is no finite number; the file is damaged")
    if (np.diff(column["total_time_s"]) < 0).any():
        row = int(np.flatnonzero(np.diff(column["total_time_s"]) < 0)[0]) + 2
        raise Refusal(f"{place}, record {row}: the test time falls back; the file is damaged or holds two tests")
    series = Series(
        time_s=column["total_time_s"],
        current_mA=column["current_mA"],
        voltage_V=column["voltage_V"],
        step_time_s=column["step_time_s"],
        counter_mAh=column["capacity_mAh"],
        vendor_cycle=column["cycle_count"],
        step=column["step_count"],
        wall_s=frame["unix_time_s"].to_numpy().astype(float),
    )
    return series, _neware_metadata(fastnda.read_metadata(named))


def _neware_metadata(found: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, Any] = dict(found)
    info = flat.get("TestInfo")
    if isinstance(info, dict) and isinstance(info.get("TestInfo"), dict):
        flat |= info["TestInfo"]
    names = {
        "barcode": "barcode",
        "Barcode": "barcode",
        "remarks": "remarks",
        "Remark": "remarks",
        "test_name": "test_name",
        "active_mass_mg": "vendor_active_mass_mg",
        "start_time": "start_time",
        "StartTime": "start_time",
        "ChlID": "channel",
        "SN": "serial",
    }
    return {ours: str(flat[theirs]) for theirs, ours in names.items() if flat.get(theirs) not in (None, "")}


def parquet(path: Path, place: str, *, limits: Limits) -> Table:
    """Read a parquet file (Battery Data Format) as a table; its size is looked at before it is unpacked."""
    import pyarrow as arrow
    import pyarrow.parquet as arrow_parquet

    try:
        file = arrow_parquet.ParquetFile(path)
        unpacked = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
        if (
            unpacked > limits.unpacked_MiB * 2**20
            or file.metadata.num_rows * max(file.metadata.num_columns, 1) > 100 * limits.sheet_cells
        ):
            raise Refusal(
                f"{place}: unpacks to {unpacked / 2**20:.0f} MiB in {file.metadata.num_rows} rows; the limit is "
                f"{limits.unpacked_MiB} MiB (setting unpacked_MiB)"
            )
        content = file.read(use_threads=False)
    except (arrow.ArrowException, OSError) as error:
        raise Refusal(
            f"{place}: the parquet file is damaged or cut off ({str(error).splitlines()[0][:120]}); export it again"
        ) from None
    names = [str(name).strip() for name in content.column_names]
    if len(set(names)) != len(names):
        raise Refusal(f"{place}: two columns of the parquet file have one name")
    return Table(
        place, tuple(names), 1, content.num_rows, Columns(tuple(column.to_numpy() for column in content.columns))
    )


def access_database(path: Path, place: str) -> Table:
    """Read the channel table of an Arbin .res database where mdbtools is not installed."""
    import access_parser

    database = access_parser.AccessParser(str(path))
    if _ARBIN_TABLE not in database.catalog:
        raise Refusal(f"{place}: is an Access database without the table {_ARBIN_TABLE}; is it an Arbin file?")
    content = database.parse_table(_ARBIN_TABLE)
    names = tuple(content)
    lengths = {len(content[name]) for name in names}
    if len(lengths) != 1 or not next(iter(lengths)):
        raise Refusal(f"{place}: its channel table is empty or has columns of different lengths; the file is damaged")
    return Table(
        place, names, 1, next(iter(lengths)), Columns(tuple(np.array(content[name], dtype=object) for name in names))
    )
