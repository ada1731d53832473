"""What each batch of a trial was really mixed of.

The ledger keeps it of every mix; the trial itself holds what was last said of any of them, which is right for all only while
there is one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from campaign.recipe import RECIPE_COLUMNS
from campaign.trial import SubjectId, Trial, read_id
from store import Reader

PLANNED = "planned"


def done(trial: Trial, mixes: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What was not as asked, by batch of a trial that was mixed several times; empty where the trial speaks for its one.

    Args:
        trial: the trial.
        mixes: all mixes of its campaign, also excluded ones: what the trial holds may be theirs.
    """
    mine = mixes[mixes["trial"].eq(trial.id) & ~mixes["state"].eq(PLANNED)]
    if len(mine) < 2:
        return {}
    told = {str(mix): json.loads(text or "{}") for mix, text in mine["recipe_done"].items()}
    named = {name for own in told.values() for name in own}
    # What no batch names was said of the trial as a whole.
    whole = {name: value for name, value in (trial.recipe_done or {}).items() if name not in named}
    return {mix: whole | own for mix, own in told.items()}


def own(reader: Reader, trial: Trial, subject: SubjectId) -> Trial:
    """The trial as the batch of a mix or cell was mixed; as it stands, where only one was."""
    if subject.kind == "trial":
        return trial
    of_batches = done(trial, reader.mixes(trial.campaign))
    return replace(trial, recipe_done=of_batches.get(subject.mix, trial.recipe_done))


def as_mixed(reader: Reader, campaign: str, trials: pd.DataFrame, owner: Mapping[Any, str] | pd.Series) -> pd.DataFrame:
    """One row a subject: its trial, with the recipe of the batch that it is, or that it was made of.

    Args:
        reader: the ledger at one moment.
        campaign: its trials.
        trials: as `Reader.trials` gives them.
        owner: by subject (trial, mix, cell or any other label) the trial that it belongs to.
    """
    owner = pd.Series(owner, dtype=object)
    rows = trials.reindex(owner).set_axis(owner.index)
    mixes = reader.mixes(campaign)
    mixed = mixes.loc[~mixes["state"].eq(PLANNED), "trial"].value_counts()
    for name in mixed.index[mixed.gt(1) & mixed.index.isin(owner)]:
        trial = reader.trial(str(name))
        of_batches = done(trial, mixes)
        for subject in owner.index[owner.eq(name)]:
            mix = read_id(str(subject)).mix if isinstance(subject, str) else None
            if mix in of_batches:
                recipe = {**trial.recipe_asked, **of_batches[mix]}
                for column in (column for column in RECIPE_COLUMNS if column in rows and column in recipe):
                    rows.loc[subject, column] = recipe[column]
    return rows
