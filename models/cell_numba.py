"""Driver of the compiled kernel: blocks of designs, a thread each, tensors in and out."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import cell_jit, cell_kernel_adjoint, cell_kernel_march
from models.cell_mesh import Mesh
from models.cell_steps import MOST_STEPS, March, Tolerances

_BLOCK = 64  # designs a block: room for its currents is 40 MB of address space, of which the steps taken are touched

T = TypeVar("T")
Array = NDArray[np.float64]


def march(scaled: Tensor, state: Tensor, mesh: Mesh, *, direction: int, tolerances: Tolerances, record: bool) -> March:
    """March n designs to their cut-off.

    Args:
        scaled: scaled designs, (n, 10).
        state: lithiation and modes at the start, (n, 3, nodes).
        mesh: their meshes.
        direction: +1 discharge, -1 charge.
        tolerances: step control.
        record: keep the local currents of every step.
    """
    p, s, bands, ends = (_array(t) for t in (scaled, state, mesh.bands, mesh.ends))
    n, nodes = p.shape[0], s.shape[2]
    if nodes > cell_jit.MAX_NODES or nodes % 2:
        raise ValueError(f"the compiled kernel takes an even number of nodes up to {cell_jit.MAX_NODES}, got {nodes}")
    limits = np.array([tolerances.lithiation, tolerances.voltage_V, tolerances.newton_V])

    def block(at: slice) -> tuple[Array, Array, Array, Array, NDArray[np.int64], NDArray[np.int64]]:
        size = p[at].shape[0]
        charge, voltage = np.empty((size, MOST_STEPS + 1)), np.empty((size, MOST_STEPS + 1))
        current = np.empty((size * (MOST_STEPS + 1) if record else 0, nodes))
        end, count, status = np.empty((size, 3, nodes)), np.zeros((size, 5), np.int64), np.zeros(size, np.int64)
        rows = cell_kernel_march.march_many(
            p[at], float(direction), s[at], bands[at], ends[at], limits,
            charge, voltage, current, end, count, status,
        )  # fmt: skip
        most = int(count[:, 4].max()) + 1
        return charge[:, :most].copy(), voltage[:, :most].copy(), current[:rows], end, count, status

    done = _threaded(block, n)
    count = np.concatenate([d[4] for d in done])
    most = int(count[:, 4].max()) + 1
    return March(
        steps=torch.from_numpy(count[:, 4].copy()),
        status=torch.from_numpy(np.concatenate([d[5] for d in done])),
        charge=torch.from_numpy(np.concatenate([_widen(d[0], most) for d in done])),
        voltage=torch.from_numpy(np.concatenate([_widen(d[1], most) for d in done])),
        current=torch.from_numpy(np.concatenate([d[2] for d in done])) if record else None,
        state=torch.from_numpy(np.concatenate([d[3] for d in done])),
        iterations=torch.from_numpy(count[:, :4].copy()),
    )


def adjoint(
    scaled: Tensor,
    state: Tensor,
    mesh: Mesh,
    done: March,
    *,
    direction: int,
    on_voltage: Tensor,
    on_charge: Tensor,
    on_state: Tensor,
) -> tuple[Tensor, Tensor]:
    """Cotangents of ``scaled`` (n, 10) and ``state`` (n, 3, nodes) on the recorded steps of ``done``.

    Args:
        scaled: as marched.
        state: as marched.
        mesh: as marched.
        done: a march with its currents recorded.
        direction: +1 discharge, -1 charge.
        on_voltage: cotangent of ``done.voltage``, counted once where the last voltage is repeated, (n, m + 1).
        on_charge: cotangent of the charge passed, (n,).
        on_state: cotangent of ``done.state``, (n, 3, nodes).
    """
    if done.current is None:
        raise ValueError("the march kept no currents: it was not recorded")
    p, s, bands, ends, current, charge = (
        _array(t) for t in (scaled, state, mesh.bands, mesh.ends, done.current, done.charge)
    )
    on_v, on_q, on_s = (_array(t) for t in (on_voltage, on_charge, on_state))
    steps, status = done.steps.numpy(), done.status.numpy()
    first = np.concatenate([[0], np.cumsum(steps + 1)[:-1]])
    out, out_state = np.zeros_like(p), np.zeros_like(s)

    def block(at: slice) -> None:
        cell_kernel_adjoint.adjoint_many(
            p[at], float(direction), s[at], bands[at], ends[at], steps[at], status[at], charge[at], first[at],
            current, on_v[at], on_q[at], on_s[at], out[at], out_state[at],
        )  # fmt: skip

    _threaded(block, p.shape[0])
    return torch.from_numpy(out), torch.from_numpy(out_state)


def _threaded(work: Callable[[slice], T], n: int) -> list[T]:
    """Blocks of designs over as many threads as torch may use; the kernel holds no interpreter lock."""
    blocks = [slice(first, min(first + _BLOCK, n)) for first in range(0, n, _BLOCK)]
    workers = min(torch.get_num_threads(), len(blocks))
    if workers == 1:
        return [work(at) for at in blocks]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, blocks))


def _array(t: Tensor) -> Array:
    return np.ascontiguousarray(t.detach().numpy())


def _widen(a: Array, width: int) -> Array:
    """Repeat the last column up to a width."""
    return np.pad(a, ((0, 0), (0, width - a.shape[1])), mode="edge")
