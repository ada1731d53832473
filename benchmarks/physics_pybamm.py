"""The cell of ``models.cell`` as a custom PyBaMM model: same equations, same mesh, same compact operator.

A spatial method hands PyBaMM the two tridiagonal operators of ``models.cell_mesh``: L as its laplacian, T as its
"gradient squared", which nothing else uses.
States are lithiation, both particle modes and the local current (algebraic); time is charge over capacity.
"""

from typing import Any

import pybamm
import scipy.sparse as sparse
import torch

from models import cell_mesh
from models.cell_ocv import END_V
from models.cell_scaled import COLUMNS, MODE_RATES, MODE_REST, MODE_WEIGHT

NAMES = COLUMNS
STATES = ("c", "y0", "y1", "w")


def even_edges(nodes: int) -> torch.Tensor:
    """One mesh for every cell, as PyBaMM needs it for a list of inputs: crowded towards the separator."""
    x = torch.linspace(0.0, 1.0, nodes + 1, dtype=torch.float64)
    return (0.5 * x + 0.5 * x**2)[None]


def model(nodes: int, direction: int) -> Any:
    """Discretised model; its inputs are the scaled design by ``COLUMNS`` and the start ``c0 y00 y10 w0``."""
    mesh = cell_mesh.build(even_edges(nodes))
    bands = mesh.bands[0].numpy()
    laplace = sparse.diags([-bands[0][1:], bands[0] + bands[1], -bands[1][:-1]], [-1, 0, 1], format="csr")
    transfer = sparse.diags([bands[2][1:], bands[3], bands[4][:-1]], [-1, 0, 1], format="csr")

    class Compact(pybamm.FiniteVolume):
        def laplacian(self, symbol: Any, discretised_symbol: Any, boundary_conditions: Any) -> Any:
            return pybamm.Matrix(laplace) @ discretised_symbol

        def gradient_squared(self, symbol: Any, discretised_symbol: Any, boundary_conditions: Any) -> Any:
            return pybamm.Matrix(transfer) @ discretised_symbol

    p = {name: pybamm.InputParameter(name) for name in NAMES}
    c, y0, y1, w = (pybamm.Variable(name, domain=["cathode"]) for name in STATES)
    x = pybamm.SpatialVariable("x", domain=["cathode"], coord_sys="cartesian")
    lag = p["particle_lag"]
    s = c + y0 + y1 + MODE_REST * lag * w
    u = p["ocv_start_V"] - p["ocv_slope_V"] * s + END_V * (1 / s - 1 / (1 - s))
    eta = p["kinetic_V"] * pybamm.arcsinh(w / (4 * p["exchange"] * pybamm.sqrt(s * (1 - s))))
    psi = u - eta - p["interface_V"] * w
    re, rs = p["ionic_V"], p["electronic_V"]
    edges = even_edges(nodes)[0].numpy()

    def inside(node: int) -> Any:
        return (x > edges[node]) * (x < edges[node + 1])

    def value(of: Any, node: int) -> Any:
        return pybamm.Integral(of * inside(node), x) / (edges[node + 1] - edges[node])

    boundary = direction * (re * inside(0) + rs * inside(nodes - 1))

    out = pybamm.BaseModel()
    out.rhs = {
        c: w,
        y0: -MODE_RATES[0] / lag * y0 + MODE_WEIGHT * w,
        y1: -MODE_RATES[1] / lag * y1 + MODE_WEIGHT * w,
    }
    out.algebraic = {w: pybamm.laplacian(psi) - (re + rs) * pybamm.grad_squared(w) + boundary}
    out.initial_conditions = {v: pybamm.InputParameter(f"{v.name}_0", domain=["cathode"]) for v in (c, y0, y1, w)}
    total = re + rs
    ends = mesh.ends[0].numpy()
    at_separator = value(psi, 0) - direction * re * ends[0, 0]
    at_separator += total * (ends[0, 1] * value(w, 0) + ends[0, 2] * value(w, 1))
    at_collector = value(psi, nodes - 1) - direction * rs * ends[1, 0]
    at_collector += total * (ends[1, 1] * value(w, nodes - 1) + ends[1, 2] * value(w, nodes - 2))
    voltage = (re * at_separator + rs * at_collector - direction * re * rs) / total - direction * p["separator_V"]
    out.events = [pybamm.Event("cut-off", direction * (voltage - p["cutoff_V"]))]
    out.variables = {name: v for name, v in zip(STATES, (c, y0, y1, w), strict=True)}
    geometry = {"cathode": {x: {"min": pybamm.Scalar(0), "max": pybamm.Scalar(1)}}}
    points = pybamm.MeshGenerator(pybamm.UserSupplied1DSubMesh, submesh_params={"edges": edges})
    discretisation = pybamm.Discretisation(
        pybamm.Mesh(geometry, {"cathode": points}, {x: nodes}), {"cathode": Compact()}
    )
    discretisation.process_model(out)
    return out
