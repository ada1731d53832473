"""Mixwright: the best recipe for ultrahigh-speed mixing of lithium-chalcogen cathodes in the fewest lab trials.

    import mixwright as mw
    c = mw.load("examples/lpscl_sulfur.yaml")
    c.propose(4)

Everything takes and gives pandas tables with units in the column names.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from campaign.errors import Refusal
from mixwright.campaigns import Campaign, load
from mixwright.physics import predict, simulate

if TYPE_CHECKING:
    from surrogate import Optimiser

# Before torch is imported: threads that wait for one another are to sleep. Spinning, two of them beside one busy process took
# 92 s for the first proposal of examples/lpscl_sulfur_lab.yaml instead of 41 s, and beside two busy processes many minutes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = ["Campaign", "Optimiser", "Refusal", "load", "predict", "simulate"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: those who only read a ledger must not wait for it.
    if name == "Optimiser":
        from surrogate import Optimiser

        return Optimiser
    raise AttributeError(f"module 'mixwright' has no attribute {name!r}")
