"""Gradient of a half-cycle on its accepted steps, in torch: the reference of ``models.cell_kernel_adjoint``.

The adjoint runs over all lanes together, from the last step of the longest to the start; a lane joins at its own last
step. What the parameters contribute at a step is a pointwise function of recorded states, so autograd differentiates it:
only the coupling of nodes and steps is written by hand.
"""

import torch
from torch import Tensor

from models import cell_pieces as pieces
from models.cell_mesh import Mesh
from models.cell_scaled import MODE_REST, MODE_WEIGHT
from models.cell_steps import CUTOFF, NO_CAPACITY, March


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
    """Cotangents of ``scaled`` and ``state``; arguments as in ``models.cell_numba.adjoint``."""
    if done.current is None:
        raise ValueError("the march kept no currents: it was not recorded")
    with torch.no_grad():
        return _Adjoint(scaled.detach(), state.detach(), mesh, done, float(direction)).run(
            on_voltage.T, on_charge, on_state.permute(1, 2, 0)
        )


class _Adjoint:
    """The steps of n designs, laid out with the design last."""

    def __init__(self, scaled: Tensor, state: Tensor, mesh: Mesh, done: March, sign: float) -> None:
        self.p = scaled.T.contiguous()
        self.bands, self.ends = mesh.bands.permute(1, 2, 0), mesh.ends.permute(1, 2, 0)
        self.sign = sign
        self.steps, self.status = done.steps, done.status
        charge = done.charge.T
        self.h = torch.diff(charge, dim=0, prepend=charge[:1])
        self.current = _by_step(done)
        start = state.permute(1, 2, 0)
        self.history = [start, start]  # entry k + 1 is the state before step k, the first stands before the start
        for k in range(self.h.shape[0] - 1):
            self.history.append(pieces.advance(self.history[-1], self.history[-2], self.current[k], self._step(k)))

    def _step(self, k: int) -> pieces.Coefficients:
        before = self.h[k - 1] if k > 1 else torch.zeros_like(self.h[k])
        return pieces.coefficients(self.h[k], before, self.p[8])

    def run(self, on_voltage: Tensor, on_charge: Tensor, on_state: Tensor) -> tuple[Tensor, Tensor]:
        after, before = torch.zeros_like(on_state), torch.zeros_like(on_state)
        out = torch.zeros_like(self.p)
        for k in range(self.h.shape[0] - 1, -1, -1):
            last, active = self.steps == k, (self.steps >= k) & (self.status != NO_CAPACITY)
            after = torch.where(last, on_state, after)
            ends_here = last & (self.status == CUTOFF)
            c = self._step(k)
            now, earlier, w = self.history[k + 1], self.history[k], self.current[k]
            s = pieces.base(now, earlier, c) + c.slope * w
            at = pieces.potential(s, w, self.p)
            d = c.slope * at.g_s + at.g_w
            v = on_voltage[k]
            if bool(ends_here.any()):
                # V = V_cut holds whatever h is: the multiplier makes the derivative along h vanish
                along = pieces.advance_along(now, earlier, w, c)
                along_0, along_1 = (
                    ((after + self._potentials(f, after, c, d)[1] * at.g_s) * along).sum((0, 1))
                    for f in (torch.zeros_like(v), torch.ones_like(v))
                )
                free = -(on_charge + along_0) / torch.where(ends_here, along_1 - along_0, 1.0)
                out[9] += torch.where(ends_here, v - free, 0.0)
                v = torch.where(ends_here, free, v)
            dual, on_psi = self._potentials(v, after, c, d)
            on_s = on_psi * at.g_s
            out += torch.where(active, self._parameters(k, dual, on_psi, on_s, after, v), 0.0)
            total = after + on_s
            total = torch.cat([total[:1], c.g[:, None] * total[1:]])
            after_new = before + (1.0 + c.a) * total
            before = torch.where(active, -c.a * total, before)
            after = torch.where(active, after_new, after)
        on_start = torch.where(self.status == NO_CAPACITY, on_state, after + before)
        return out.T.contiguous(), on_start.permute(2, 0, 1).contiguous()

    def _potentials(self, v: Tensor, after: Tensor, c: pieces.Coefficients, d: Tensor) -> tuple[Tensor, Tensor]:
        """Dual of the step's equations and cotangent of the electrode potential, (nodes, lanes) each."""
        with torch.enable_grad():  # the voltage is linear in psi and w: its weights
            psi = torch.zeros_like(d, requires_grad=True)
            w = torch.zeros_like(d, requires_grad=True)
            weights = torch.autograd.grad(pieces.terminal_voltage(psi, w, self.p, self.sign, self.ends).sum(), (psi, w))
        own = c.b * (after[0] + MODE_WEIGHT * (c.g[:, None] * after[1:]).sum(0)) + v * weights[1]
        k = -(self.p[0] + self.p[1]) / d
        lower, upper = -self.bands[0], -self.bands[1]
        lower[1:] += self.bands[4, :-1] * k[1:]
        upper[:-1] += self.bands[2, 1:] * k[:-1]
        diagonal = self.bands[0] + self.bands[1] + self.bands[3] * k
        dual = pieces.solve_tridiagonal(lower, diagonal, upper, -v * weights[0] - own / d)
        on_psi = (self.bands[0] + self.bands[1]) * dual + v * weights[0]
        on_psi[1:] -= self.bands[0, 1:] * dual[:-1]
        on_psi[:-1] -= self.bands[1, :-1] * dual[1:]
        return dual, on_psi

    def _parameters(self, k: int, dual: Tensor, on_psi: Tensor, on_s: Tensor, after: Tensor, v: Tensor) -> Tensor:
        """Gradient of the step's Lagrangian along the scaled design, states frozen, (10, lanes)."""
        now, earlier, w = self.history[k + 1], self.history[k], self.current[k]
        with torch.enable_grad():
            p = self.p.clone().requires_grad_()
            c = pieces.coefficients(self.h[k], self.h[k - 1] if k > 1 else torch.zeros_like(v), p[8])
            moved = pieces.advance(now, earlier, w, c)
            s = moved.sum(0) + MODE_REST * p[8] * w
            g = pieces.potential(s.detach(), w, p).g
            lagrangian = (
                (on_psi * g).sum()
                + (on_s * s).sum()
                + (after * moved).sum()
                - ((p[0] + p[1]) * (dual * pieces.apply_transfer(w, self.bands)).sum(0)).sum()
                + (self.sign * (p[0] * dual[0] + p[1] * dual[-1])).sum()
            )
            voltage = pieces.terminal_voltage(g.detach(), w, p, self.sign, self.ends)
            return torch.autograd.grad(lagrangian + (v * voltage).sum(), p)[0]


def _by_step(done: March) -> Tensor:
    """Recorded currents as (steps + 1, nodes, n); the last is repeated where a design has ended."""
    assert done.current is not None
    first = torch.cumsum(done.steps + 1, 0) - done.steps - 1
    most = int(done.steps.max()) + 1
    k = torch.minimum(torch.arange(most, device=first.device)[:, None], done.steps)
    return done.current[first + k].permute(0, 2, 1)
