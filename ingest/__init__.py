"""Files into checked, frozen tables plus findings: lab sheets, cycler files, capacity tables. Never touches the ledger."""

from ingest.archive import Stored, store
from ingest.assign import Assignment, find_cell
from ingest.checks import CellFacts
from ingest.cycler import inspect, read_cycler
from ingest.findings import CyclingFile, Finding, Inspection
from ingest.limits import Limits
from ingest.series import CURRENT
from ingest.sheet_read import SheetContent, SheetRow, read_sheet
from ingest.sheet_write import write_sheet
from ingest.tables_in import History, read_history, read_powder
from ingest.versions import Comparison, Difference, compare_versions, is_settled

__all__ = [
    "CURRENT",
    "Assignment",
    "CellFacts",
    "Comparison",
    "CyclingFile",
    "Difference",
    "Finding",
    "History",
    "Inspection",
    "Limits",
    "SheetContent",
    "SheetRow",
    "Stored",
    "compare_versions",
    "find_cell",
    "inspect",
    "is_settled",
    "read_cycler",
    "read_history",
    "read_powder",
    "read_sheet",
    "store",
    "write_sheet",
]
