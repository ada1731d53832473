"""What `mixwright init` writes: a commented campaign file, machine settings, and a lab sheet to look at."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from campaign.errors import Refusal
from campaign.recipe import complete
from flows import settings as machine

_CAMPAIGN = """\
# A campaign: what may be mixed, how each cell is tested, what is wanted. Units stand in the names.
campaign: {name}
title: Our first campaign
evaluator: lab                # lab = people and cyclers answer; physics = the model answers (to look around first)
seed: 1                       # the same file and the same results give the same proposals

space:                        # what may be varied; carbon is the balance to 100 wt%
  speed_rpm: {{low: 400, high: 2000, step: 25}}
  time_h: {{low: 0.5, high: 12, step: 0.25}}          # net hours of rotation, without the rests
  active_wt_pct: {{low: 15, high: 40, step: 0.25}}
  sse: [LPSCl]                # names as in `mixwright doctor`; your own: materials: {{electrolytes: our_sse.csv}}

# constraints:                # optional, in the names above
#   - time_h * (speed_rpm / 2000)**2 <= 8

fixed:                        # the same in every mix
  active: S                   # S, Se, SeS2 or Te
  sse_wt_pct: 50
  carbon: KB+C45
  mixer: AR-100
  ball_ratio: 5               # balls to powder by weight
  duty: 0.5                   # rotating share of the clock: 30 min on, 30 min rest

protocol:                     # the same for every cell
  loading_mg_cm2: 4           # mg of active per cm2
  current_mA_cm2: 0.67
  cycles: 100
  temperature_C: 25
  stack_pressure_MPa: 70
  anode: Li-In

objectives:
  - {{outcome: discharge_capacity_cycle_100_mAh_g_composite, goal: max}}

budget: {{trials: 24, batch: 4}}
tolerance_pct: 5              # recipes within 5 % of the best count as equivalent
# stopping: {{smallest_worthwhile_gain_pct: 2, chance_below: 0.05}}   # stop proposing when more is unlikely
# risk: {{speed_rpm: 2%, active_wt_pct: 0.5}}       # how far off a batch may be mixed (sd): seek what nine of ten still reach
prior: physics                # our model as prior knowledge, trusted as far as your results bear it out; none = without

lab:
  channels: 8
  mixers: 1                   # long mixing must promise more, above all where trials wait for mixers rather than channels
  batch_mass_g: 1.0           # composite in one mix, for the weighed grams on the sheet
  cell_area_cm2: 0.785
  working_days: [Mon, Tue, Wed, Thu, Fri]
  working_hours_per_day: 9    # from 8 o'clock; a mixer begun in working hours may run overnight
  # max_run_time_h: 12        # of the mixer; a space beyond it is refused
  # stock_g: {{LPSCl: 20}}      # at the start of the campaign; what is not there is not proposed
  # price_per_g: {{LPSCl: 15}}  # any currency: dearer batches must promise more
"""

_SETTINGS = """\
# Where this machine keeps things; environment variables win over it. Without it: ~/.local/share/mixwright
data_dir = "data"
"""


def write(folder: Path) -> list[Path]:
    """Write the campaign file, the settings and a sheet template into a folder.

    Returns:
        The files, the campaign file first.

    Raises:
        Refusal: one of them exists already, or the folder cannot be written; nothing is written then.
    """
    campaign, settings, sheet = (
        folder / name for name in ("campaign.yaml", machine.FILE_NAME, "lab_sheet_template.xlsx")
    )
    if folder.suffix.lower() in (".yaml", ".yml"):
        raise Refusal(
            f"{folder} is a name for a file; init makes a folder and puts campaign.yaml into it: init {folder.stem}"
        )
    for path in (campaign, settings, sheet):
        if path.exists():
            raise Refusal(f"{path} exists already; choose another folder, nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = (
            "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in folder.resolve().name)
            or "campaign"
        )
        campaign.write_text(_CAMPAIGN.format(name=name.lstrip("_-") or "campaign"), encoding="utf-8")
        settings.write_text(_SETTINGS, encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{folder} cannot be written: {error.strerror}") from None
    from ingest import write_sheet

    example = complete(pd.DataFrame({"speed_rpm": [1500.0], "time_h": [3.0]}, index=["T0000"]))
    write_sheet(sheet, example, space_bounds={}, campaign_name="template: T0000 is an example, no real trial")
    return [campaign, settings, sheet]
