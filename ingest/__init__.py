"""Files into checked, frozen tables plus findings: lab sheets, cycler files, capacity tables. Never touches the ledger."""

from ingest.checks import CellFacts
from ingest.cycler import inspect, read_cycler
from ingest.findings import CyclingFile, Finding, Inspection
from ingest.limits import Limits
from ingest.sheet_read import SheetContent, SheetRow, read_sheet
from ingest.sheet_write import write_sheet

__all__ = [
    "CellFacts",
    "CyclingFile",
    "Finding",
    "Inspection",
    "Limits",
    "SheetContent",
    "SheetRow",
    "inspect",
    "read_cycler",
    "read_sheet",
    "write_sheet",
]
