"""Best so far: the results in the order they came in, and the best value reached up to each."""

from __future__ import annotations

import pandas as pd

from review.data import CampaignView

_COLUMNS = ("result", "trial_id", "evaluator", "value", "best_so_far")


def history(view: CampaignView) -> pd.DataFrame:
    """Return the trials that have the objective and count, in the order their results came in.

    In a lab that is not the order of proposal: a bad cell tells within a week, a good one after months.

    Returns:
        `result`: 1, 2, ...; `trial_id`, `evaluator`, `value`, `best_so_far` (of those that meet the bounds), and the
        prediction made before, where known.
    """
    name = view.objective.name
    if name not in view.trials:
        return pd.DataFrame(columns=list(_COLUMNS))
    counted = view.ranked(view.trials)
    order = [column for column in ("finished_at", "sequence") if column in counted]
    trials = (counted.sort_values(order, kind="stable") if order else counted.sort_index()).reset_index(drop=True)
    values = trials[name].astype(float)
    best = values.where(trials["meets_bounds"].eq(other=True)) if "meets_bounds" in trials else values
    table = pd.DataFrame(
        {
            "result": range(1, len(trials) + 1),
            "trial_id": trials["trial_id"],
            "evaluator": trials["evaluator"],
            "value": values,
            "best_so_far": (best.cummax() if view.objective.goal == "max" else best.cummin()).ffill(),
        }
    )
    for column in ("predicted_p05", "predicted_p95"):
        if column in trials:
            table[column] = trials[column].astype(float)
    return table
