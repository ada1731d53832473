"""Results that contradict the others: flagged and given a wide error, never dropped.

A result is suspected when the others predict it badly (leave-one-out), and flagged when one sd of all outcomes added to its
own error raises the evidence by more than the odds against an outlier. A lone surprise far from all others is no
contradiction: there the prediction is wide, and nothing is gained by doubting the result.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from surrogate.gp import Data, Posterior, fit
from surrogate.kernel import Layout

Floats = npt.NDArray[np.float64]

SUSPECT_Z = 2.5
"""Leave-one-out departures beyond this many sd are looked at."""
LOG_ODDS = 3.5
"""log(0.97 / 0.03): about 3 % of cell tests are outliers [est]."""
OUTLIER_SD = 1.0
"""Error that a flagged result is given, in units of the outcomes' sd."""
LARGEST_SHARE = 0.15
FEWEST = 6
"""Below so many results nothing can be told apart."""


def doubt(layout: Layout, data: Data, part: Posterior) -> Floats:
    """Return the extra noise variance of each of n results: 0, or OUTLIER_SD^2 where flagged."""
    extra = np.zeros(data.n)
    if data.n < FEWEST:
        return extra
    for _ in range(int(LARGEST_SHARE * data.n)):
        mean, sd = part.leave_one_out()
        z = np.where(extra > 0, 0.0, np.abs(data.y - mean) / sd)
        worst = int(z.argmax())
        if float(z[worst]) < SUSPECT_Z:
            break
        tried = extra.copy()
        tried[worst] = OUTLIER_SD**2
        refit = fit(layout, replace(data, extra=tried), rho2=part.rho2, start=part.logs, max_iterations=15)
        if refit.log_evidence - part.log_evidence < LOG_ODDS:
            break
        extra, part = tried, refit
    return extra
