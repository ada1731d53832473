"""What both implementations of the full solver share: tolerances, limits, and what a march returns."""

from dataclasses import dataclass
from typing import Final

from torch import Tensor


@dataclass(frozen=True)
class Tolerances:
    """Step control; see docs/cell_solver.md for the errors that they give.

    Attributes:
        lithiation: largest difference of a surface lithiation from its extrapolation, a step.
        voltage_V: the same of the terminal voltage, over a step of ``VOLTAGE_STEP``; shorter steps may differ by more,
            since they weigh less in the curve.
        newton_V: residual of psi = G below which the Newton update just made is the last.
    """

    lithiation: float = 1.5e-4
    voltage_V: float = 1e-3
    newton_V: float = 1e-3


VOLTAGE_STEP: Final = 0.05
FIRST_STEP: Final = 1e-4
LARGEST_STEP: Final = 0.1
SMALLEST_STEP: Final = 1e-13
MOST_STEPS: Final = 1500
NEWTON_LIMIT: Final = 12
NEWTON_GUARD: Final = 0.25
START_LIMIT: Final = 100
START_MARGIN_V: Final = 1e-6  # a start closer to the cut-off has nothing to give
END_LIMIT: Final = 25
END_RESIDUAL_V: Final = 1e-7
END_CHANGE: Final = 1e-9

CUTOFF: Final = 0
NO_CAPACITY: Final = 1
STEP_LIMIT: Final = 2


@dataclass(frozen=True)
class March:
    """The accepted steps of n half-cycles; step 0 is the consistent start, at no charge.

    Attributes:
        steps: number of steps after the start, (n,) int64.
        status: 0 at the cut-off, 1 no capacity, 2 gave up, (n,) int64.
        charge: charge passed over capacity at each step, (n, m + 1); repeated after the last.
        voltage: terminal voltage there, (n, m + 1).
        current: local current at the nodes, (n, m + 1, nodes); None unless asked for.
        state: lithiation and modes at the end, (n, 3, nodes).
        iterations: Newton iterations, rejected steps, Newton failures, restarted ends, (n, 4) int64.
    """

    steps: Tensor
    status: Tensor
    charge: Tensor
    voltage: Tensor
    current: Tensor | None
    state: Tensor
    iterations: Tensor
