"""The full solver's march in torch: the reference, and the path on any device.

All lanes run together, one Newton iteration of every lane a turn. Each lane has its own step, count and decision (go on
iterating, accept, reject, take the last step to the cut-off), kept by masks; lanes that are done are dropped when they
are many. Decisions and formulas are those of ``models.cell_kernel``.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from models import cell_pieces as pieces
from models.cell_mesh import Mesh
from models.cell_steps import (
    CUTOFF,
    END_CHANGE,
    END_LIMIT,
    END_RESIDUAL_V,
    FIRST_STEP,
    LARGEST_STEP,
    MOST_STEPS,
    NEWTON_GUARD,
    NEWTON_LIMIT,
    NO_CAPACITY,
    SMALLEST_STEP,
    START_LIMIT,
    START_MARGIN_V,
    STEP_LIMIT,
    VOLTAGE_STEP,
    March,
    Tolerances,
)
from models.cell_torch_adjoint import adjoint

__all__ = ["adjoint", "march"]


@dataclass
class _Lanes:
    """State of the lanes that still run; the lane is the last axis of every tensor."""

    lane: Tensor
    p: Tensor
    bands: Tensor
    ends: Tensor
    now: Tensor
    before: Tensor
    w: Tensor
    w1: Tensor
    s: Tensor  # surface lithiation of the last three accepted steps, (3, nodes, lanes)
    x: Tensor  # currents of the step that is tried
    h: Tensor
    h1: Tensor
    h2: Tensor
    longest: Tensor
    q: Tensor
    v: Tensor
    v1: Tensor
    k: Tensor
    tries: Tensor
    fresh: Tensor
    ending: Tensor
    status: Tensor
    count: Tensor  # iterations, rejected, failed, ends restarted, (4, lanes)

    def take(self, keep: Tensor) -> "_Lanes":
        """Only the lanes of a mask."""
        return _Lanes(*(getattr(self, f.name)[..., keep] for f in fields(self)))


def march(scaled: Tensor, state: Tensor, mesh: Mesh, *, direction: int, tolerances: Tolerances, record: bool) -> March:
    """March n designs to their cut-off; arguments and result as in ``models.cell_numba.march``."""
    sign = float(direction)
    with torch.no_grad():
        lanes = _start(scaled.detach(), state.detach(), mesh, sign)
        n, nodes = scaled.shape[0], state.shape[2]
        log = _Log(n, nodes, scaled, record=record)
        while True:
            _turn(lanes, sign, tolerances, log)
            running = lanes.status < 0
            if not bool(running.any()):
                log.finish(lanes, ~running)
                return log.result()
            if int(running.sum()) < 0.75 * running.numel():
                log.finish(lanes, ~running)
                lanes = lanes.take(running)


class _Log:
    """Accepted steps of all designs, gathered while the lanes run."""

    def __init__(self, n: int, nodes: int, like: Tensor, *, record: bool) -> None:
        self.charge = torch.zeros((64, n), dtype=like.dtype, device=like.device)
        self.voltage = torch.zeros_like(self.charge)
        self.state = torch.zeros((n, 3, nodes), dtype=like.dtype, device=like.device)
        self.steps = torch.zeros(n, dtype=torch.int64, device=like.device)
        self.status = torch.zeros_like(self.steps)
        self.count = torch.zeros((n, 4), dtype=torch.int64, device=like.device)
        self.record = record
        self.taken: list[tuple[Tensor, Tensor, Tensor]] = []

    def step(self, lanes: _Lanes, accepted: Tensor) -> None:
        at, k = lanes.lane[accepted], lanes.k[accepted]
        if k.numel() and int(k.max()) >= self.charge.shape[0]:
            self.charge = torch.cat([self.charge, torch.zeros_like(self.charge)])
            self.voltage = torch.cat([self.voltage, torch.zeros_like(self.voltage)])
        self.charge[k, at] = lanes.q[accepted]
        self.voltage[k, at] = lanes.v[accepted]
        if self.record:
            self.taken.append((at, k, lanes.w[:, accepted].T.clone()))

    def refused(self, at: Tensor, cutoff_V: Tensor) -> None:
        """Designs without a consistent start: one step of no charge at the cut-off."""
        self.voltage[0, at] = cutoff_V
        if self.record and at.numel():
            self.taken.append((at, torch.zeros_like(at), self.state.new_zeros((at.numel(), self.state.shape[2]))))

    def finish(self, lanes: _Lanes, done: Tensor) -> None:
        at = lanes.lane[done]
        self.state[at] = lanes.now[..., done].permute(2, 0, 1)
        self.steps[at] = lanes.k[done].clamp(min=0)
        self.status[at] = lanes.status[done]
        self.count[at] = lanes.count[:, done].T

    def result(self) -> March:
        most = int(self.steps.max()) + 1
        # after the last step repeat it
        at = torch.minimum(torch.arange(most, device=self.steps.device)[:, None], self.steps[None])
        current = None
        if self.record:
            design, k, w = (torch.cat(part) for part in zip(*self.taken, strict=True))
            order = torch.argsort(design * (MOST_STEPS + 2) + k)
            current = w[order]
        return March(
            steps=self.steps,
            status=self.status,
            charge=self.charge.gather(0, at).T.contiguous(),
            voltage=self.voltage.gather(0, at).T.contiguous(),
            current=current,
            state=self.state,
            iterations=self.count,
        )


def _start(scaled: Tensor, state: Tensor, mesh: Mesh, sign: float) -> _Lanes:
    n, _, nodes = state.shape
    zero = torch.zeros(n, dtype=scaled.dtype, device=scaled.device)
    index = torch.arange(n, device=scaled.device)
    now = state.permute(1, 2, 0).contiguous()
    w = torch.full((nodes, n), sign, dtype=scaled.dtype, device=scaled.device)
    no = torch.zeros(n, dtype=torch.bool, device=scaled.device)
    return _Lanes(
        lane=index, p=scaled.T.contiguous(), bands=mesh.bands.permute(1, 2, 0).contiguous(),
        ends=mesh.ends.permute(1, 2, 0).contiguous(), now=now, before=now.clone(), w=w, w1=w.clone(),
        s=now.sum(0).expand(3, -1, -1).clone(), x=w.clone(), h=zero.clone(), h1=zero.clone(), h2=zero.clone(),
        longest=zero.clone(), q=zero.clone(), v=zero.clone(), v1=zero.clone(), k=index * 0 - 1, tries=index * 0,
        fresh=~no, ending=no, status=index * 0 - 1,
        count=torch.zeros((4, n), dtype=torch.int64, device=scaled.device),
    )  # fmt: skip


def _turn(z: _Lanes, sign: float, tolerances: Tolerances, log: _Log) -> None:
    """One Newton iteration of every lane, and the decisions of those that converged or failed."""
    c = pieces.coefficients(z.h, z.h1, z.p[8])
    base = pieces.base(z.now, z.before, c)
    guess = torch.where(z.ending, z.x, z.w + _ratio(z) * (z.w - z.w1))
    x = torch.where(z.fresh, _into_bounds(guess, base, c.slope, z.s[0]), z.x)

    s = base + c.slope * x
    at = pieces.potential(s, x, z.p)
    inverse_d = 1.0 / torch.minimum(c.slope * at.g_s + at.g_w, NEWTON_GUARD * at.g_w)
    resistance = z.p[0] + z.p[1]
    k = -resistance * inverse_d
    right = pieces.apply_transfer(resistance * (x - at.g * inverse_d), z.bands)
    right[0] -= sign * z.p[0]
    right[-1] -= sign * z.p[1]
    system = pieces.system(k, z.bands)
    g, change = at.g, torch.zeros_like(z.h)
    if bool(z.ending.any()):
        g_h = at.g_s * pieces.advance_along(z.now, z.before, x, c).sum(0)
        pair = torch.stack([right, pieces.apply_transfer(k * g_h, z.bands)])
        psi, psi_h = pieces.solve_tridiagonal(*system, pair)
        v = pieces.terminal_voltage(psi, x + (psi - g) * inverse_d, z.p, sign, z.ends)
        v_h = pieces.terminal_voltage(psi_h, (psi_h - g_h) * inverse_d, z.p, 0.0, z.ends)
        most = torch.minimum(z.longest, 3.0 * z.h)
        wanted = torch.minimum(torch.maximum(z.h + (z.p[9] - v) / v_h, 0.1 * z.h), most)
        change = torch.where(z.ending, wanted - z.h, change)
        g, psi, z.h = g + change * g_h, psi + change * psi_h, z.h + change
        c = pieces.coefficients(z.h, z.h1, z.p[8])
        base = pieces.base(z.now, z.before, c)
    else:
        psi = pieces.solve_tridiagonal(*system, right)
    e = psi - g
    whole = x + e * inverse_d
    inside = (_into_bounds(whole, base, c.slope, s) == whole).all(0)
    within = e.abs().amax(0) < torch.where(z.ending, END_RESIDUAL_V, tolerances.newton_V)
    settled = inside & within  # a whole step keeps the sum of the currents exact
    z.x = torch.where(settled, whole, _update(x, e, inverse_d, at.root, base, c.slope, s))
    z.count[0] += z.status < 0
    z.tries += 1
    z.fresh = torch.zeros_like(z.fresh)
    settled = settled & (~z.ending | (change.abs() < END_CHANGE * (z.q + z.h)))
    v_new = pieces.terminal_voltage(psi, z.x, z.p, sign, z.ends)
    _decide(z, settled, torch.where(z.ending, z.p[9], v_new), base + c.slope * z.x, c, sign, tolerances, log)


def _ratio(z: _Lanes) -> Tensor:
    return torch.where(z.h1 > 0, z.h / torch.where(z.h1 > 0, z.h1, 1.0), 0.0)


def _into_bounds(x: Tensor, base: Tensor, slope: Tensor, s_last: Tensor) -> Tensor:
    """Where the guess leaves less than a tenth of the distance to a pole of the OCV, leave a tenth."""
    s, near = base + slope * x, 0.1 * s_last
    bounded = torch.minimum(torch.maximum(s, near), 0.9 + near)
    return torch.where(bounded == s, x, (bounded - base) / slope)


def _update(x: Tensor, e: Tensor, inverse_d: Tensor, root: Tensor, base: Tensor, slope: Tensor, s: Tensor) -> Tensor:
    """Newton's step in w that cannot overshoot; see ``cell_kernel._update``."""
    change = e * inverse_d
    size, step = x.abs(), change.abs()
    grown = (1.0 + 0.25 * step / root) ** 4
    shrunk = torch.maximum(0.5 * (size * (grown + 1 / grown) - root * (grown - 1 / grown)), size - step)
    new = torch.where(change * x >= 0, x + change, torch.copysign(torch.ones_like(x), x) * shrunk)
    return _into_bounds(new, base, slope, s)


def _decide(
    z: _Lanes,
    settled: Tensor,
    v_new: Tensor,
    s_new: Tensor,
    c: pieces.Coefficients,
    sign: float,
    tolerances: Tolerances,
    log: _Log,
) -> None:
    """Accept, reject, shorten, or turn to the last step, each lane for itself."""
    starting = z.k < 0
    limit = torch.where(z.ending, END_LIMIT, torch.where(starting, START_LIMIT, NEWTON_LIMIT))
    running = z.status < 0
    settled = settled & running
    failed = ~settled & (z.tries >= limit) & running
    beyond = sign * (v_new - z.p[9]) <= torch.where(starting, START_MARGIN_V, 0.0)
    error = _error(z, s_new, v_new, tolerances)
    good = error < 1.5
    rejected = settled & ~z.ending & ~starting & ~good
    to_end = settled & ~z.ending & ~starting & good & beyond
    accepted = settled & ~rejected & ~to_end

    if bool(accepted.any()):
        _accept(z, accepted, beyond, starting, error, v_new, s_new, c, log)
    share = (z.v - z.p[9]) / (z.v - v_new)
    z.x = torch.where(to_end, z.w + share * (z.x - z.w), z.x)
    z.longest = torch.where(to_end, z.h, z.longest)
    shorter = torch.where(error < 1e30, (0.8 * error.clamp(min=1e-9) ** (-1.0 / 3.0)).clamp(min=0.2), 0.2)
    again = torch.where(z.ending, 0.3 * z.longest, 0.3 * z.h)
    h = torch.where(rejected, z.h * shorter, torch.where(failed, again, z.h))
    z.h = torch.where(to_end, share * z.h, h)
    z.count[1] += rejected
    z.count[2] += failed & ~z.ending
    z.count[3] += failed & z.ending
    # not even at the start can the particles' surfaces carry the current
    z.status = torch.where(failed & starting, NO_CAPACITY, z.status)
    z.status = torch.where(failed & ~starting & (z.h < SMALLEST_STEP), STEP_LIMIT, z.status)
    log.refused(z.lane[failed & starting], z.p[9][failed & starting])
    z.ending = (z.ending & ~failed & ~accepted) | to_end
    decided = settled | failed
    z.fresh = decided
    z.tries = torch.where(decided, 0, z.tries)


def _error(z: _Lanes, s_new: Tensor, v_new: Tensor, tolerances: Tolerances) -> Tensor:
    """Difference from the extrapolation of the last steps, over the tolerances; 0 at the start."""
    h1 = torch.where(z.h1 > 0, z.h1, 1.0)
    h2 = torch.where(z.h2 > 0, z.h2, 1.0)
    slope = (z.s[0] - z.s[1]) / h1
    bend = (slope - (z.s[1] - z.s[2]) / h2) / (h1 + h2)
    line = s_new - z.s[0] - z.h * slope
    away = torch.where(z.k == 1, line, line - z.h * (z.h + z.h1) * bend)
    away = torch.where(z.k == 0, 0.5 * z.h * (z.x - z.w), away).abs().amax(0) / tolerances.lithiation
    volts = (v_new - z.v - _ratio(z) * (z.v - z.v1)).abs() * torch.sqrt((z.h / VOLTAGE_STEP).clamp(max=1.0))
    error = torch.where(z.k > 0, torch.maximum(away, volts / tolerances.voltage_V), away)
    return torch.where(z.k < 0, torch.zeros_like(error), error)


def _accept(
    z: _Lanes,
    accepted: Tensor,
    beyond: Tensor,
    starting: Tensor,
    error: Tensor,
    v_new: Tensor,
    s_new: Tensor,
    c: pieces.Coefficients,
    log: _Log,
) -> None:
    after = pieces.advance(z.now, z.before, z.x, c)
    z.before = torch.where(accepted, z.now, z.before)
    z.now = torch.where(accepted, after, z.now)
    z.w1 = torch.where(accepted, torch.where(starting, z.x, z.w), z.w1)
    z.w = torch.where(accepted, z.x, z.w)
    z.s = torch.where(accepted, torch.stack([s_new, z.s[0], z.s[1]]), z.s)
    z.q = torch.where(accepted, z.q + z.h, z.q)
    z.v1 = torch.where(accepted, torch.where(starting, v_new, z.v), z.v1)
    z.v = torch.where(accepted, v_new, z.v)
    z.k = torch.where(accepted, z.k + 1, z.k)
    log.step(z, accepted)
    ended = accepted & z.ending
    z.status = torch.where(ended, CUTOFF, z.status)
    z.status = torch.where(accepted & starting & beyond, NO_CAPACITY, z.status)
    z.status = torch.where(accepted & ~ended & (z.k >= MOST_STEPS), STEP_LIMIT, z.status)
    longer = (0.85 * (error + 1e-9) ** (-1.0 / 3.0)).clamp(0.3, 2.0)
    z.h2 = torch.where(accepted & ~starting, z.h1, z.h2)
    z.h1 = torch.where(accepted & ~starting, z.h, z.h1)
    following = torch.where(starting, torch.full_like(z.h, FIRST_STEP), (z.h * longer).clamp(max=LARGEST_STEP))
    z.h = torch.where(accepted, following, z.h)
