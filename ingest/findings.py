"""What a check found, and what a file turned out to hold: the small frozen results that `ingest` hands to the flows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pandas as pd

Level = Literal["ok", "note", "warning", "flag"]
Start = Literal["discharge", "charge"]


@dataclass(frozen=True)
class Finding:
    """One check and what it found; `flag` asks for a person's look, nothing worse is ever let through."""

    check: str
    level: Level
    sentence: str
    cycle: int | None = None
    value: float | None = None


@dataclass(frozen=True)
class CyclingFile:
    """A cycler file understood: per-cycle capacities by our own integration, and the vendor's beside them."""

    name: str
    """File name as given; never used as a path."""
    sha256: str
    format: str
    """Such as `biologic-mpt`, `arbin-res`, `csv`, `capacity-table`."""
    rows: int
    start: Start
    """Direction of the first half-cycle of cycle 1; belongs to the trial."""
    first_cycle_partial: bool
    cycles: pd.DataFrame
    """One row a cycle; the columns are `ingest.cycles.COLUMNS`."""
    findings: tuple[Finding, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    cell_id: str | None = None
    """A cell id found in the file's metadata, if any."""
    given: str = "mAh"
    """What its capacities are given in: `mAh`, or for a table `mAh/g`, `mAh/g of composite`, `mAh/cm2`."""

    @property
    def flagged(self) -> bool:
        """True where a check asks for a person's look before the values are used."""
        return any(finding.level == "flag" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON data; an absent number is null."""
        cycles = self.cycles.astype(object).where(self.cycles.notna(), None)
        return {
            "file": self.name,
            "sha256": self.sha256,
            "format": self.format,
            "rows": self.rows,
            "start": self.start,
            "first_cycle_partial": self.first_cycle_partial,
            "cycles": cycles.to_dict(orient="records"),
            "checks": [asdict(finding) for finding in self.findings],
            "metadata": dict(self.metadata),
            "cell_id": self.cell_id,
            "given": self.given,
        }


Inspection = CyclingFile
"""What `inspect` says of a file is what `read_cycler` would hand to a campaign."""
