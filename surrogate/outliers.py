"""Results that contradict the others: flagged and given a wide error, never dropped.

With mean m and variance v predicted for result y by all others (leave-one-out), taking it for an outlier (a further error
of one sd of all outcomes) changes the log evidence by log N(y; m, v + 1) - log N(y; m, v). Where that beats the odds
against an outlier, also with m and v as they are once the result is doubted, it is flagged. A lone surprise far from all others
is no contradiction: there v is wide, and nothing is gained by doubting the result.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from surrogate.process import Process, fit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

SUSPECT_Z = 2.5
"""Leave-one-out departures beyond this many sd are looked at more closely."""
LOG_ODDS = 3.5
"""log(0.97 / 0.03): about 3 % of cell tests are outliers [est]."""
OUTLIER_SD = 1.0
"""Error that a flagged result is given, in units of the outcomes' sd."""
DOUBT = 2.0
"""So many times as unsure as they state the others count [est]: the top of a hill is a surprise to those who saw its slopes,
and where trials are chosen for what they promise the stated sd is too small."""
ALIKE_SD = 0.2
"""Where the others differ by less than this share of the sd of all, they have nothing to contradict with: the one that differs
is what there is to learn."""
FEWEST = 6
"""Below so many results nothing can be told apart."""
REFIT = 64
"""Up to so many results one outlier can hide in the inferred noise, so the suspect is also judged after a refit."""
ROUNDS = 4
TRIES = 2
"""So many of the worst departures are tried in a round."""


def doubt(process: Process, best: int) -> Floats:
    """Return the extra noise variance of each of n results: 0, or OUTLIER_SD^2 where flagged.

    Args:
        process: fitted, without doubt about any result.
        best: its part with the most evidence.
    """
    data, rho2 = process.data, process.rho2[[best]]
    extra = np.zeros(data.n)
    if data.n < FEWEST:
        return extra
    part = process.moved(process.logs[[best]], rho2)
    for _ in range(ROUNDS):
        found = _next(part, extra)
        if found is None:
            break
        extra, part = found
    return extra


def _next(part: Process, extra: Floats) -> tuple[Floats, Process] | None:
    """Return the extra variances with further outliers and the process that takes them for such; None where none is left."""
    data, few = part.data, part.data.n <= REFIT
    mean, variance = (values[0].numpy() for values in part.leave_one_out())
    z = (data.y - mean) / np.sqrt(variance)
    gain = np.where(extra > 0, -np.inf, _gain(data.y - mean, variance))
    worst = np.argsort(-np.where(extra > 0, 0.0, np.abs(z)))[:TRIES]
    singly = [np.array([i]) for i in worst if abs(z[i]) > SUSPECT_Z]
    for suspects in singly if few else [np.flatnonzero(gain > LOG_ODDS)]:
        if not len(suspects) or np.delete(data.y, suspects).std() < ALIKE_SD:
            continue
        tried = _taken(part, extra, suspects)
        kept = suspects[_contradiction(tried)[suspects] > LOG_ODDS]
        if 0 < len(kept) < len(suspects):
            tried = _taken(part, extra, kept)
        if len(kept) and _log_density(tried) - _log_density(part) > LOG_ODDS:
            return tried.data.extra, tried
    return None


def _taken(part: Process, extra: Floats, suspects: Ints) -> Process:
    """Return the process that takes the suspects for outliers, fitted anew while there are few results."""
    doubted = extra.copy()
    doubted[suspects] = OUTLIER_SD**2
    data = replace(part.data, extra=doubted)
    return fit(part.layout, data, part.rho2.tolist(), start=part.logs, steps=15 if data.n <= REFIT else 0)


def _log_density(process: Process) -> float:
    return float(process.log_density(slopes=False)[0])


def _contradiction(process: Process) -> Floats:
    """Return how far (log odds) each of n doubted results contradicts the others, by what they teach while it is doubted.

    Believed, a gross error spoils what the others teach: then everything looks unforeseeable, and nothing is ever flagged.
    """
    mean, variance = (values[0].numpy() for values in process.leave_one_out())
    noise = process.likelihood.variances()[0].detach().numpy()
    unsure = DOUBT**2 * np.maximum(variance - noise, 0.0) + noise - process.data.extra
    return _gain(process.data.y - mean, unsure)


def _gain(departure: Floats, variance: Floats) -> Floats:
    """Return what taking a result for an outlier adds to its log density."""
    wide = variance + OUTLIER_SD**2
    return np.asarray(0.5 * departure**2 * (1.0 / variance - 1.0 / wide) - 0.5 * np.log(wide / variance))
