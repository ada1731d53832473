"""Open-circuit voltage of the chalcogen against lithiation: a sloping plateau with algebraic ends.

    U(s) = U_start - fall s + END_V (1/s - 1/(1 - s)),      0 < s < 1

U_start is the start of the plateau against the anode, s the lithiation (0 = chalcogen, 1 = Li2X). The
end terms stand for the rise and the drop that close the plateau; a pole instead of a logarithm keeps U strictly
falling on the whole of (0, 1), reaches any cut-off at a finite distance from the end (0.7 V at 1 - s = 6e-4), costs
two divisions, and each end has an explicit inverse (a quadratic), which the solver uses as a bound in Newton's method.

Source: plateau between 1.45 and 1.10 V vs Li-In [fit], shape of the ends [est]; valid for one sloping plateau.
"""

from typing import Final

import torch
from torch import Tensor

END_V: Final = 4e-4
"""V; strength of the poles that end the plateau [est]: 8 mV at 5 % from either end, 40 mV at 1 %."""


def open_circuit_voltage(lithiation: Tensor, *, start_V: Tensor, fall_V: Tensor) -> Tensor:
    """Voltage (V, broadcast shape) at rest of material at ``lithiation`` in (0, 1)."""
    plateau = start_V - fall_V * lithiation
    return plateau + END_V * (1.0 / lithiation - 1.0 / (1.0 - lithiation))


def lithiation_at_charged_rest(voltage_V: Tensor, *, start_V: Tensor, fall_V: Tensor) -> Tensor:
    """Lithiation (0 to 1/2) whose open-circuit voltage is ``voltage_V``, on the charged side of the plateau.

    The far pole is taken at its value at s = 0, which leaves a quadratic; exact to END_V s.
    """
    above = voltage_V - start_V + END_V
    # fall s^2 + above s - END_V = 0, written so that nothing cancels for either sign of `above`
    root = torch.sqrt(above * above + 4.0 * fall_V * END_V)
    return torch.where(above > 0, 2.0 * END_V / (above + root), (root - above) / (2.0 * fall_V))
