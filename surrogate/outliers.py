"""Results that contradict the others: flagged and given a wide error, never dropped.

With mean m and variance v predicted for result y by all others (leave-one-out), taking it for an outlier (a further error
of one sd of all outcomes) changes the log evidence by log N(y; m, v + 1) - log N(y; m, v). Where that beats the odds
against an outlier the result is flagged. A lone surprise far from all others is no contradiction: there v is wide, and
nothing is gained by doubting the result.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from surrogate.process import Process, fit

Floats = npt.NDArray[np.float64]

SUSPECT_Z = 2.5
"""Leave-one-out departures beyond this many sd are looked at more closely."""
LOG_ODDS = 3.5
"""log(0.97 / 0.03): about 3 % of cell tests are outliers [est]."""
OUTLIER_SD = 1.0
"""Error that a flagged result is given, in units of the outcomes' sd."""
FAMILIAR_SD = 0.2
"""Only where the others know the noise-free outcome to this sd (in units of the outcomes' sd), or to the noise, can a result
contradict them: elsewhere a surprise is a discovery."""
FEWEST = 6
"""Below so many results nothing can be told apart."""
REFIT = 64
"""Up to so many results one outlier can hide in the inferred noise, so the suspect is also judged after a refit."""
ROUNDS = 4


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
        mean, variance = (values[0].numpy() for values in part.leave_one_out())
        z, wide = (data.y - mean) / np.sqrt(variance), variance + OUTLIER_SD**2
        gain = 0.5 * z**2 * (1.0 - variance / wide) - 0.5 * np.log(wide / variance)
        noise = part.likelihood.variances()[0].detach().numpy() - extra
        latent = np.sqrt(np.maximum(variance - noise - extra, 0.0))
        unjudged = (extra > 0) | (latent > np.maximum(FAMILIAR_SD, np.sqrt(noise)))
        gain[unjudged], z[unjudged] = -np.inf, 0.0
        flagged = gain > LOG_ODDS
        if not flagged.any() and (data.n > REFIT or np.abs(z).max() < SUSPECT_Z):
            break
        tried = extra.copy()
        tried[flagged if flagged.any() else [int(np.argmax(np.abs(z)))]] = OUTLIER_SD**2
        steps = 15 if data.n <= REFIT else 0
        refit = fit(part.layout, replace(data, extra=tried), rho2.tolist(), start=part.logs, steps=steps)
        if refit.log_density(slopes=False)[0] - part.log_density(slopes=False)[0] < LOG_ODDS:
            break
        extra, part = tried, refit
    return extra
