"""Mesh of the full solver: nodes gathered where the reaction goes, and a compact fourth-order elliptic operator.

Edges x(xi) = a xi + (1 - a) xi^6: nearly even over the depth that the reaction can reach (a is a little more than that
depth), wide beyond; mirrored where electrons are the slower carrier. A mesh belongs to the cell, not to the half-cycle:
half-cycles that follow each other keep the first one's.

With F = psi' and F' = -R w, two exact integrals are expanded to fourth order on centred nodes:

    F(right edge) - F(left edge) = -R [h w + h^3/24 w'']
    psi(i+1) - psi(i) = d F + F' (h+^2 - h-^2)/8 + F'' (h+^3 + h-^3)/48      (F at the edge between)

Eliminating F leaves L psi = R T w + boundary, L and T tridiagonal (Numerov's scheme on an even mesh). Column sums of T
are the weights with which local lithiations add up to the charge passed, exactly.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from models.cell import CellDesign
from models.cell_scaled import plateau_fall_V

NODES: Final = 48
_CROWDING: Final = 6.0
_MARGIN: Final = 1.1
_LEAST_DEPTH: Final = 0.02


@dataclass(frozen=True)
class Mesh:
    """Operators of n meshes.

    Attributes:
        edges: cell edges from separator to collector, (n, nodes + 1).
        bands: rows of the two operators, (n, 5, nodes): -L's lower and upper off-diagonals (inverse distances to the
            neighbours, 0 at the ends), T's lower, diagonal and upper.
        ends: for the separator and the collector side, (n, 2, 3): distance of the boundary from the nearest node, and
            the weights of R w at the nearest and the second node in the boundary potential.
        weights: shares of the nodes in the charge, (n, nodes); they add up to 1.
    """

    edges: Tensor
    bands: Tensor
    ends: Tensor
    weights: Tensor


def reached_depth(design: CellDesign) -> Tensor:
    """Depth (share of the thickness) at which the slower carrier's drop uses up the discharge window, (n,)."""
    d = design
    slower = torch.maximum(d.ionic_resistance_ohm_cm2, d.electronic_resistance_ohm_cm2)
    outside = d.separator_resistance_ohm_cm2 + d.interface_resistance_ohm_cm2
    current_A = d.current_mA_cm2 * 1e-3
    window = d.ocv_start_V - d.cutoff_discharge_V - current_A * outside
    return (window / (current_A * slower + plateau_fall_V(d))).clamp(min=_LEAST_DEPTH)


def lay_edges(design: CellDesign, *, nodes: int = NODES) -> Tensor:
    """Edges fitted to each design, (n, nodes + 1); no gradient flows through the mesh."""
    with torch.no_grad():
        share = (_MARGIN * reached_depth(design)).clamp(max=1.0)[:, None]
        even = torch.linspace(0.0, 1.0, nodes + 1, dtype=share.dtype, device=share.device)
        edges = share * even + (1.0 - share) * even**_CROWDING
        mirrored = design.electronic_resistance_ohm_cm2 > design.ionic_resistance_ohm_cm2
        return torch.where(mirrored[:, None], 1.0 - edges.flip(1), edges)


def build(edges: Tensor) -> Mesh:
    """Operators for given edges."""
    width = edges.diff(dim=1)
    distance = 0.5 * (width[:, 1:] + width[:, :-1])
    left, right = width[:, :-1], width[:, 1:]
    # weights of w on both sides of an edge in psi(i+1) - psi(i) - d F, over d
    first = (right**2 - left**2) / 8
    second = (right**3 + left**3) / (48 * distance)
    both = left + right
    before = (first * right / both - second) / distance
    after = (first * left / both + second) / distance

    lower, diagonal, upper = torch.zeros_like(width), width.clone(), torch.zeros_like(width)
    diagonal[:, :-1] += before
    upper[:, :-1] += after
    lower[:, 1:] -= before
    diagonal[:, 1:] -= after
    # h^3/24 w'' inside; at the ends w is taken as linear over the last two nodes
    bend = width[:, 1:-1] ** 3 / (12 * (distance[:, 1:] + distance[:, :-1]))
    upper[:, 1:-1] += bend / distance[:, 1:]
    lower[:, 1:-1] += bend / distance[:, :-1]
    diagonal[:, 1:-1] -= bend / distance[:, 1:] + bend / distance[:, :-1]

    inverse_left, inverse_right = torch.zeros_like(width), torch.zeros_like(width)
    inverse_left[:, 1:] = 1 / distance
    inverse_right[:, :-1] = 1 / distance
    weights = diagonal.clone()
    weights[:, :-1] += lower[:, 1:]
    weights[:, 1:] += upper[:, :-1]
    return Mesh(
        edges=edges,
        bands=torch.stack([inverse_left, inverse_right, lower, diagonal, upper], dim=1),
        ends=torch.stack([_end(width[:, 0], distance[:, 0]), _end(width[:, -1], distance[:, -1])], dim=1),
        weights=weights,
    )


def _end(width: Tensor, distance: Tensor) -> Tensor:
    gap = 0.5 * width
    slope = gap**3 / (3 * distance)
    return torch.stack([gap, 0.5 * gap**2 + slope, -slope], dim=1)
