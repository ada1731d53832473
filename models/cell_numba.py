"""Driver of the compiled kernel: blocks of designs, a thread each, tensors in and out."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import cell_kernel
from models.cell_mesh import Mesh
from models.cell_steps import MOST_STEPS, March, Tolerances

_BLOCK = 64  # designs a block: its recorded currents stay below 40 MB until they are packed

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
    if nodes > cell_kernel.MAX_NODES or nodes % 2:
        raise ValueError(
            f"the compiled kernel takes an even number of nodes up to {cell_kernel.MAX_NODES}, got {nodes}"
        )
    limits = np.array([tolerances.lithiation, tolerances.voltage_V, tolerances.newton_V])

    def block(at: slice) -> tuple[Array, Array, Array, Array, NDArray[np.int64], NDArray[np.int64]]:
        size = p[at].shape[0]
        charge, voltage = np.empty((size, MOST_STEPS + 1)), np.empty((size, MOST_STEPS + 1))
        current = np.empty((size, MOST_STEPS + 1 if record else 0, nodes))
        end, count, status = np.empty((size, 3, nodes)), np.zeros((size, 5), np.int64), np.zeros(size, np.int64)
        cell_kernel.march_many(
            p[at], float(direction), s[at], bands[at], ends[at], limits,
            charge, voltage, current, end, count, status,
        )  # fmt: skip
        most = int(count[:, 4].max()) + 1
        packed = np.concatenate([current[i, : count[i, 4] + 1] for i in range(size)]) if record else current
        return charge[:, :most].copy(), voltage[:, :most].copy(), packed, end, count, status

    blocks = [slice(first, min(first + _BLOCK, n)) for first in range(0, n, _BLOCK)]
    workers = min(torch.get_num_threads(), len(blocks))
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            done = list(pool.map(block, blocks))
    else:
        done = [block(at) for at in blocks]
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


def _array(t: Tensor) -> Array:
    return np.ascontiguousarray(t.detach().numpy())


def _widen(a: Array, width: int) -> Array:
    """Repeat the last column up to a width."""
    return np.pad(a, ((0, 0), (0, width - a.shape[1])), mode="edge")
