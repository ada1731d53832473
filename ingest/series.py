"""A time series from a cycler in our units: what every reader makes, and all that the integration is allowed to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TEST_TIME, CURRENT, VOLTAGE = "test time (s)", "current (mA)", "voltage (V)"
"""How the columns of a series are named where two versions of it are compared."""


@dataclass(frozen=True)
class Series:
    """n rows in order of time; current is positive on charge. What a format does not hold is None."""

    time_s: Floats
    """Test time, n."""
    current_mA: Floats
    voltage_V: Floats
    step_time_s: Floats | None = None
    charge_counter_mAh: Floats | None = None
    """The vendor's counter for charge; may reset, start above zero or never reset."""
    discharge_counter_mAh: Floats | None = None
    counter_mAh: Floats | None = None
    """One counter for both directions, by magnitude; resets with the step or half-cycle."""
    throughput_mAh: Floats | None = None
    """Signed charge since the start."""
    vendor_cycle: Floats | None = None
    step: NDArray[np.generic] | None = None
    wall_s: Floats | None = None
    """Wall clock, seconds since any epoch."""
    current_derived: bool = False
    """True where the file has no current and it was taken as dq/dt."""
    interval_mean: bool = False
    """True where the current of a row is the mean since the row before (BioLogic `<I>`, and dq/dt)."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.time_s)
