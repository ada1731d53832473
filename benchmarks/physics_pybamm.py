"""The cell of ``models.cell`` as custom PyBaMM models: states, equations and cut-off are written out again here.

``compact`` shares mesh and operators with ours (for speed at the same equations and mesh): a spatial method hands PyBaMM
the two tridiagonal operators of ``models.cell_mesh``, L as its laplacian, T as its "gradient squared", which nothing
else uses. ``plain`` is PyBaMM's own finite volumes, div(grad), on any mesh (for accuracy: independent in discretisation
and solver). States are lithiation, both particle modes and the local current (algebraic); time is charge over capacity.
"""

from typing import Any

import numpy as np
import pybamm
import scipy.sparse as sparse
import torch

from models import cell_mesh
from models.cell_ocv import END_V
from models.cell_scaled import COLUMNS, MODE_RATES, MODE_REST, MODE_WEIGHT

NAMES = COLUMNS
STATES = ("c", "y0", "y1", "w")


def common_edges(nodes: int, *, share: float = 0.5) -> torch.Tensor:
    """One mesh for every cell, as PyBaMM needs it for a list of inputs: crowded towards the separator."""
    x = torch.linspace(0.0, 1.0, nodes + 1, dtype=torch.float64)
    return (share * x + (1.0 - share) * x**2)[None]


def compact(nodes: int, direction: int) -> Any:
    """Model on our mesh with our operators."""
    mesh = cell_mesh.build(common_edges(nodes))
    bands, ends = mesh.bands[0].numpy(), mesh.ends[0].numpy()
    laplace = sparse.diags([-bands[0][1:], bands[0] + bands[1], -bands[1][:-1]], [-1, 0, 1], format="csr")
    transfer = sparse.diags([bands[2][1:], bands[3], bands[4][:-1]], [-1, 0, 1], format="csr")

    class Compact(pybamm.FiniteVolume):
        def laplacian(self, symbol: Any, discretised_symbol: Any, boundary_conditions: Any) -> Any:
            return pybamm.Matrix(laplace) @ discretised_symbol

        def gradient_squared(self, symbol: Any, discretised_symbol: Any, boundary_conditions: Any) -> Any:
            return pybamm.Matrix(transfer) @ discretised_symbol

    def equation(psi: Any, w: Any, re: Any, rs: Any, inside: Any) -> Any:
        boundary = direction * (re * inside(0) + rs * inside(nodes - 1))
        return pybamm.laplacian(psi) - (re + rs) * pybamm.grad_squared(w) + boundary

    return _assemble(common_edges(nodes)[0].numpy(), direction, Compact(), equation, ends, {})


def plain(edges: np.ndarray, direction: int) -> Any:
    """Model by PyBaMM's own finite volumes on given edges."""
    gaps = np.diff(edges)[[0, -1]] / 2
    ends = np.stack([gaps, gaps**2 / 2, 0 * gaps], axis=1)  # boundary potential with the nearest current
    conditions: dict[Any, Any] = {}

    def equation(psi: Any, w: Any, re: Any, rs: Any, inside: Any) -> Any:
        conditions[psi] = {"left": (direction * re, "Neumann"), "right": (-direction * rs, "Neumann")}
        return pybamm.div(pybamm.grad(psi)) + (re + rs) * w

    return _assemble(edges, direction, pybamm.FiniteVolume(), equation, ends, conditions)


def _assemble(
    edges: np.ndarray, direction: int, method: Any, equation: Any, ends: np.ndarray, conditions: dict[Any, Any]
) -> Any:
    nodes = len(edges) - 1
    p = {name: pybamm.InputParameter(name) for name in NAMES}
    c, y0, y1, w = (pybamm.Variable(name, domain=["cathode"]) for name in STATES)
    x = pybamm.SpatialVariable("x", domain=["cathode"], coord_sys="cartesian")
    re, rs, lag = p["ionic_V"], p["electronic_V"], p["particle_lag"]
    s = c + y0 + y1 + MODE_REST * lag * w
    u = p["ocv_start_V"] - p["ocv_slope_V"] * s + END_V * (1 / s - 1 / (1 - s))
    eta = p["kinetic_V"] * pybamm.arcsinh(w / (4 * p["exchange"] * pybamm.sqrt(s * (1 - s))))
    psi = u - eta - p["interface_V"] * w

    def inside(node: int) -> Any:
        return (x > edges[node]) * (x < edges[node + 1])

    def value(of: Any, node: int) -> Any:
        return pybamm.Integral(of * inside(node), x) / (edges[node + 1] - edges[node])

    out = pybamm.BaseModel()
    out.rhs = {
        c: w,
        y0: -MODE_RATES[0] / lag * y0 + MODE_WEIGHT * w,
        y1: -MODE_RATES[1] / lag * y1 + MODE_WEIGHT * w,
    }
    out.algebraic = {w: equation(psi, w, re, rs, inside)}
    out.boundary_conditions = conditions
    out.initial_conditions = {v: pybamm.InputParameter(f"{v.name}_0", domain=["cathode"]) for v in (c, y0, y1, w)}
    total, last = re + rs, nodes - 1
    at_separator = value(psi, 0) - direction * re * ends[0, 0]
    at_separator += total * (ends[0, 1] * value(w, 0) + ends[0, 2] * value(w, 1))
    at_collector = value(psi, last) - direction * rs * ends[1, 0]
    at_collector += total * (ends[1, 1] * value(w, last) + ends[1, 2] * value(w, last - 1))
    voltage = (re * at_separator + rs * at_collector - direction * re * rs) / total - direction * p["separator_V"]
    out.events = [pybamm.Event("cut-off", direction * (voltage - p["cutoff_V"]))]
    out.variables = {"voltage": voltage}
    geometry = {"cathode": {x: {"min": pybamm.Scalar(0), "max": pybamm.Scalar(1)}}}
    points = pybamm.MeshGenerator(pybamm.UserSupplied1DSubMesh, submesh_params={"edges": edges})
    pybamm.Discretisation(pybamm.Mesh(geometry, {"cathode": points}, {x: nodes}), {"cathode": method}).process_model(
        out
    )
    return out


def inputs_of(scaled: torch.Tensor, state: np.ndarray, current: np.ndarray) -> list[dict[str, Any]]:
    """PyBaMM's inputs: scaled designs (n, 10), starts (n, 3, nodes) and a guess of the currents there (n, nodes)."""
    return [
        dict(zip(NAMES, map(float, p), strict=True))
        | {f"{name}_0": value[:, None] for name, value in zip(STATES, (*s, w), strict=True)}
        for p, s, w in zip(scaled, state, current, strict=True)
    ]


def solve(solver: Any, model: Any, inputs: list[dict[str, Any]]) -> list[Any]:
    """Solutions of a list of inputs; None where PyBaMM gives up, found by halving the list."""
    try:
        solved = solver.solve(model, [0, 1.2], inputs=inputs)
    except pybamm.SolverError:
        if len(inputs) == 1:
            return [None]
        half = len(inputs) // 2
        return solve(solver, model, inputs[:half]) + solve(solver, model, inputs[half:])
    return solved if isinstance(solved, list) else [solved]
