"""Other people's programs that turn a binary file into text: started on their own, inside the limits, never imported."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from campaign.errors import Refusal

_JET = (b"\x00\x01\x00\x00Standard Jet DB", b"\x00\x01\x00\x00Standard ACE DB")
_MPR = b"BIO-LOGIC MODULAR FILE"
_JET_PAGE = 2048


@dataclass(frozen=True)
class Program:
    """A command and the format that its output is read as."""

    format: str
    argv: tuple[str, ...]


def needed(path: Path, place: str) -> Program | None:
    """Return the program that turns this file into text, or None where the file needs none.

    Raises:
        Refusal: the program is not installed, or the file is cut off.
    """
    with path.open("rb") as stream:
        head = stream.read(64)
    if head.startswith(_MPR):
        if importlib.util.find_spec("galvani") is None:
            raise Refusal(
                f"{place}: is a BioLogic .mpr file, which needs the optional program galvani "
                "(pip install datalab-org-galvani); or export it from EC-Lab as text (.mpt)"
            )
        return Program("biologic-mpr", (sys.executable, str(Path(__file__).with_name("mpr_to_csv.py")), str(path)))
    if head.startswith(_JET):
        if path.stat().st_size % _JET_PAGE:
            raise Refusal(
                f"{place}: is an Arbin .res database whose last page is cut off; copy it again once the test rests"
            )
        program = shutil.which("mdb-export")
        if program is not None:
            return Program("arbin-res", (program, str(path), "Channel_Normal_Table"))
        if importlib.util.find_spec("access_parser") is None:
            raise Refusal(
                f"{place}: is an Arbin .res database, which needs mdbtools (apt install mdbtools, brew install mdbtools) "
                "or pip install access-parser; or export it from Arbin as CSV"
            )
    return None
