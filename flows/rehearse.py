"""Rehearsal: a whole campaign against many virtual labs, before months of cells are spent; and labs that answer in earnest.

Each lab is drawn from a seed and played on the virtual clock by this product as the campaign sets it up (space, prior,
budget, stopping rule, channels). What a user learns: how many days and cells it may take, and how likely it ends well.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from campaign import quantity, recipe
from campaign.errors import Refusal
from campaign.materials import Materials
from campaign.spec import CampaignSpec, LoadedCampaign, load_spec
from flows import goals
from flows import settings as machine
from flows.early_evidence import Seen
from flows.rehearsal_calendar import WEEK, Bench, play
from flows.session import UNSEEN, Session, check_physics, now, space_of, who

if TYPE_CHECKING:
    from flows.rehearsal_product import Product, Switches
    from models.prior_grid import Floats, PriorFunction
    from models.virtual_lab import Level, Question
    from models.virtual_lab_plug import OpenLab
    from surrogate import Optimiser

FEWEST_RESULTS = 6
"""Results before the stopping rule is asked [est]: before, its intervals rest on the prior alone."""


@dataclass(frozen=True)
class LabResult:
    """One lab's campaign.

    Attributes:
        seed: of the lab.
        days: from which on the recommended recipe is within tolerance at every weekly check; None if never.
        cells: started by then.
        ended_day: on which the campaign had nothing more to do.
        cells_used: in all.
        regret: of the recommended recipe at the end, as a share of the lab's best; NaN where no cell let any be recommended.
        best: the lab's noise-free best.
        weeks: day, cells, regret, regret_tried at each check.
        out_of_stock: what was lacking, where the stock ended it.
        cut_off: whether the horizon ended it while batches or cells were under way.
        breaks: bounds that the recipe recommended at the end breaks.
    """

    seed: int
    days: float | None
    cells: int | None
    ended_day: float
    cells_used: int
    regret: float
    best: float
    weeks: pd.DataFrame
    out_of_stock: str | None = None
    cut_off: bool = False
    breaks: tuple[str, ...] = ()

    @property
    def within(self) -> bool:
        """Whether it ended within tolerance."""
        return self.days is not None


@dataclass(frozen=True)
class Setting:
    """What every lab of a rehearsal shares; plain data, so that it can be handed to another process."""

    campaign: str
    level: Level
    lab_file: str | None = None
    horizon_days: float = 730.0
    seed: int = 0
    tell_every: int = 0
    """Trials after which a line on stderr says how far a lab is; 0 is never."""


def rehearse(
    campaign: str | Path,
    *,
    labs: int = 20,
    seed: int = 0,
    level: Level | None = None,
    lab_file: str | None = None,
    horizon_days: float = 730.0,
    workers: int = 2,
    progress: Callable[[LabResult], None] | None = None,
    tell_every: int = 0,
) -> list[LabResult]:
    """Play a campaign against labs seed, seed + 1, ….

    Args:
        campaign: its file; its ledger is neither needed nor touched.
        labs: how many.
        seed: of the first lab.
        level: how far the labs' physics is from ours; None is what the campaign says.
        lab_file: `FILE.py:factory` of labs of one's own.
        horizon_days: on which a campaign ends at the latest.
        workers: processes.
        progress: called with each result as it comes.
        tell_every: trials of a lab after which a line on stderr says how far it is; 0 is never.

    Returns:
        One result a lab, by seed.

    Raises:
        Refusal: the file is faulty, the space leaves the physics' box, or the objective shows in no record of capacities.
    """
    if labs < 1:
        raise Refusal(f"--labs {labs}: there must be at least one lab")
    if not (math.isfinite(horizon_days) and horizon_days >= WEEK):
        raise Refusal(
            f"--horizon-days {horizon_days:g}: must be a number of days from {WEEK:g} on, the day of the first look"
        )
    spec, materials, question = read_question(campaign)
    check(load_spec(campaign), question, materials, own_lab=lab_file is not None)
    if lab_file is not None:
        from models.virtual_lab_plug import open_lab

        # A slip is told before processes are started for it and wait for the prior.
        drawn = level or spec.virtual_lab.level
        open_lab(seed, drawn, question=question, materials=materials, file=lab_file).best()
    setting = Setting(str(campaign), level or spec.virtual_lab.level, lab_file, horizon_days, seed, tell_every)
    results = []
    for result in _each(setting, range(seed, seed + labs), workers=min(workers, labs)):
        results.append(result)
        if progress is not None:
            progress(result)
    return sorted(results, key=lambda result: result.seed)


def read_question(campaign: str | Path) -> tuple[CampaignSpec, Materials, Question]:
    """Read a campaign file into what a virtual lab is asked."""
    from models.virtual_lab import Question

    loaded = load_spec(campaign)
    materials, spec = loaded.materials(), loaded.spec
    question = Question(space_of(loaded, materials), spec.conditions(), spec.objective, spec.outcome_constraints)
    return spec, materials, question


def check(loaded: LoadedCampaign, question: Question, materials: Materials, *, own_lab: bool) -> None:
    """Refuse what cannot be rehearsed.

    Raises:
        Refusal: says what and why.
    """
    spec = loaded.spec
    if len(spec.objectives) > 1:
        raise Refusal(
            f"objectives: {len(spec.objectives)} objectives cannot be rehearsed, as no single recipe is then the best that days "
            f"are counted to; rehearse a copy that wants {spec.objective.outcome} and bounds the others (outcome_constraints)"
        )
    for name in question.outcomes:
        if name.startswith(UNSEEN):
            raise Refusal(
                f"{name} cannot be rehearsed: a virtual lab gives capacities and hours, and this outcome needs voltages or the "
                "electrolyte's own share; name a capacity or a retention"
            )
    if own_lab and spec.prior == "none":
        return
    from models import limits

    for refused in limits.refusals(question.designs(question.space.sample(64, seed=0)), materials=materials):
        if refused:
            way_out = "write prior: none" if own_lab else "rehearse with labs of your own (--lab) and prior: none"
            check_physics(loaded, materials, way_out=f"; or {way_out}, to go without the physics")
            raise Refusal(
                f"{loaded.place('space')}: the space leaves what the physics can speak of: {refused}; or {way_out}"
            )


def last_cycle(question: Question) -> int:
    """Return the cycle that a record must reach for all that is wanted."""
    from flows.early_evidence import needed_cycle

    return max(needed_cycle(name, question.conditions) for name in question.outcomes)


# ---- one lab, in a process of its own ---------------------------------------------------------------------------------


class Stage:
    """What is made once a process: the question, the prior on its grid, simulated curves."""

    def __init__(self, setting: Setting) -> None:
        from models.physics_prior import DRAWS
        from models.virtual_lab_prior import ensemble_priors, simulated_curves

        self.setting = setting
        self.spec, self.materials, self.question = read_question(setting.campaign)
        self.last_cycle = last_cycle(self.question)
        self.priors: Mapping[str, PriorFunction] = {}
        self.curves: Sequence[Floats] = ()
        if self.spec.prior == "physics":
            kept = machine.load(Path(setting.campaign)).data_dir / "prior" / f"{self.spec.campaign}-rehearsal"
            question = self.question
            learned = goals.learned(question.outcomes, question.space.names, question.conditions)
            self.priors = ensemble_priors(
                question, learned, draws=DRAWS, seed=self.spec.seed, materials=self.materials, keep=kept
            )
            self.curves = simulated_curves(
                self.question, cycles=self.last_cycle, seed=self.spec.seed, materials=self.materials
            )

    @property
    def prior(self) -> PriorFunction | None:
        """The physics' ensemble of the objective."""
        return self.priors.get(self.question.objective.outcome)

    def lab(self, seed: int) -> OpenLab:
        """One lab of the setting's level."""
        from models.virtual_lab_plug import open_lab

        return open_lab(
            seed, self.setting.level, question=self.question, materials=self.materials, file=self.setting.lab_file
        )

    def product(self, *, seed: int, switches: Switches | None = None) -> Product:
        """This product, set up as the campaign says."""
        from flows.rehearsal_product import Product, Switches

        return Product(
            self.question,
            materials=self.materials,
            priors=self.priors,
            curves=self.curves,
            descriptors=dict(self.question.space.descriptors),
            seed=seed,
            lab=self.spec.lab,
            risk=self.spec.risk,
            switches=switches or Switches(),
            stop_when=self._stop_when,
        )

    def bench(self, *, most_tests: int | None = None) -> Bench:
        """The campaign's lab block."""
        return Bench.of(
            self.spec.lab,
            duty=float(self.spec.conditions().get("duty", 0.5)),
            most_tests=most_tests or self.spec.budget.trials,
            horizon_days=self.setting.horizon_days,
        )

    def _stop_when(self, optimiser: Optimiser) -> bool:
        rule = self.spec.stopping
        if rule is None or len(optimiser.trials) < FEWEST_RESULTS:
            return False
        worthwhile = abs(float(optimiser.recommend()["mean"].iloc[0])) * rule.smallest_worthwhile_gain_pct / 100
        if not math.isfinite(worthwhile):
            return False  # nothing has worked yet
        return optimiser.stopping(worthwhile, bound=rule.chance_below).stop


def play_lab(stage: Stage, seed: int) -> LabResult:
    """Play the campaign against one lab."""
    lab = stage.lab(seed)
    product = stage.product(seed=stage.spec.seed + seed)
    every, horizon = stage.setting.tell_every, stage.setting.horizon_days
    played = play(lab, _Heard(product, stage, seed) if every else product, stage.bench())
    reached = played.within(stage.spec.tolerance_pct / 100)
    ended = max((test.ended_day for test in played.tests), default=0.0)
    regret, recommended = float(played.weeks["regret"].iloc[-1]), product.recommended
    return LabResult(
        seed=seed,
        days=reached[0] if reached else None,
        cells=reached[1] if reached else None,
        ended_day=min(ended, horizon),
        cells_used=len(played.tests),
        regret=regret,
        best=played.best,
        weeks=played.weeks,
        out_of_stock=product.out_of_stock,
        cut_off=ended > horizon,
        # A recipe that breaks a bound counts as worth nothing: which bound, is asked of those alone.
        breaks=tuple(lab.broken(recommended)) if recommended is not None and regret == 1.0 else (),
    )


class _Heard:
    """A product of which stderr hears how many trials it has chosen: a campaign may take an hour."""

    def __init__(self, product: Product, stage: Stage, seed: int) -> None:
        self._product, self._lab = product, seed
        self._every, self._trials = stage.setting.tell_every, stage.spec.budget.trials
        self._told = 0
        self.last_cycle, self.readouts, self.ahead = product.last_cycle, product.readouts, product.ahead

    def next(self, tests: Sequence[Seen], *, free: int) -> Mapping[str, Any] | None:
        """Choose as it does."""
        if len(tests) >= self._told + self._every:
            self._told = len(tests)
            cycled = sum(test.state in ("ended", "died", "stopped") for test in tests)
            sys.stderr.write(f"lab {self._lab}: {len(tests)} of {self._trials} trials mixed, {cycled} cells done\n")
            sys.stderr.flush()
        return self._product.next(tests, free=free)

    def stop(self, tests: Sequence[Seen], *, wanted: int = 0) -> Sequence[int]:
        """Stop as it does."""
        return self._product.stop(tests, wanted=wanted)

    def recommend(self, tests: Sequence[Seen]) -> Mapping[str, Any] | None:
        """Recommend as it does."""
        return self._product.recommend(tests)


_STAGE: list[Stage] = []
"""The one stage of a worker process."""


def _open_stage(setting: Setting) -> None:
    from models.virtual_lab_plug import one_thread

    one_thread()
    _STAGE[:] = [Stage(setting)]


def _play_here(seed: int) -> LabResult:
    return play_lab(_STAGE[0], seed)


def _each(setting: Setting, seeds: Sequence[int], *, workers: int) -> Iterator[LabResult]:
    """Play every lab, in processes where there is more than one, in order of seed."""
    if workers <= 1:
        _open_stage(setting)
        yield from map(_play_here, seeds)
        return
    context = get_context("spawn")  # a forked child of a process with torch's threads may hang
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_open_stage, initargs=(setting,)) as pool:
        yield from pool.map(_play_here, seeds)


# ---- virtual labs as evaluator of a campaign --------------------------------------------------------------------------


ANSWERED = "virtual-lab "
"""Start of the keys under which a virtual lab's answers stand in the ledger."""


def evaluate_virtual(session: Session) -> list[str]:
    """Let the campaign's virtual lab answer every proposed trial, and record each once, labelled `virtual-lab`.

    Returns:
        Ids of the trials that were answered now; one whose cell died too early is recorded as failed.

    Raises:
        Refusal: another lab answered the trials before, or a lab of the user's own fails.
    """
    if session.spec.evaluator != "virtual-lab":
        return []
    check_same_lab(session)
    trials = session.ledger.trials(session.name)
    waiting = trials[trials["state"].eq("proposed") & trials["evaluator"].eq("virtual-lab")]
    if waiting.empty:
        return []
    from models.virtual_lab import Question
    from models.virtual_lab_plug import open_lab

    spec = session.spec
    question = Question(session.space, spec.conditions(), spec.objective, spec.outcome_constraints)
    check(session.loaded, question, session.materials, own_lab=session.lab_file is not None)
    lab = open_lab(
        spec.virtual_lab.seed,
        spec.virtual_lab.level,
        question=question,
        materials=session.materials,
        file=session.lab_file,
    )
    designs = recipe.complete(waiting[list(recipe.DESIGN_COLUMNS)], session.materials)
    for name, design in designs.iterrows():
        _answer(session, lab, str(name), design, least=last_cycle(question))
    return [str(name) for name in waiting.index]


def _who_answers(session: Session, *, content: bool = True) -> str:
    """Name the lab; a file of the user's own with what it holds, as other labs have the same file name."""
    lab, made = session.spec.virtual_lab, "built-in virtual lab"
    if session.lab_file is not None:
        file = Path(session.lab_file.rpartition(":")[0])
        made = f"--lab {Path(session.lab_file).name}"
        made += f" (sha256 {hashlib.sha256(file.read_bytes()).hexdigest()[:12]})" if content else ""
    return f"{made}, level {lab.level}, seed {lab.seed}"


def check_same_lab(session: Session) -> None:
    """Refuse a virtual lab other than the one that answered before: two labs have two optima, a campaign looks for one.

    Raises:
        Refusal: names both; or the user's file has no such lab.
    """
    if session.spec.evaluator != "virtual-lab":
        return
    if session.lab_file is not None:
        from models.virtual_lab_plug import factory_from

        factory_from(session.lab_file)
    reader = session.reader
    events, keys = reader.events(), [f"{ANSWERED}{trial}" for trial in reader.trials(session.name).index]
    before = events.loc[events["key"].isin(keys), "why"].dropna()
    answers = _who_answers(session)
    # Ledgers of before name the file alone.
    if len(before) and before.iloc[-1] not in (answers, _who_answers(session, content=False)):
        raise Refusal(
            f"{session.loaded.path}: the trials of campaign {session.name!r} were answered by {before.iloc[-1]}; {answers} would "
            "answer another question: go on with the lab of before, or give the campaign a new name"
        )


def _answer(session: Session, lab: OpenLab, trial: str, design: pd.Series, *, least: int) -> None:
    """Mix, test and record one trial."""
    from models.virtual_lab_plug import table_of

    mix, cell = f"{trial}-M1", f"{trial}-M1-C1"
    varied = {name: design[name] for name in session.spec.space}
    batch = lab.mix(varied, day=0.0, label=mix)
    record = lab.cycle(batch, max(int(design["cycles"]), least))
    powder = lab.powder(batch)
    observables: list[Any] = [quantity.split(name) for name in powder]
    results = pd.DataFrame(observables, columns=["observable", "unit"]).assign(
        subject=mix, value=list(powder.values()), provenance="simulated"
    )
    reached = len(record.discharge_mAh_cm2) >= least
    session.ledger.record(
        key=f"{ANSWERED}{trial}",
        at=now(),
        by=who(),
        results=results if len(results) else None,
        cycling=table_of(record, cell).rename(columns={"design": "subject"}),
        complete=[trial] if reached else [],
        unplanned=True,
        why=_who_answers(session),
    )
    if not reached:
        why = f"the virtual cell died after {len(record.discharge_mAh_cm2)} cycles"
        session.ledger.fail(trial, key=f"virtual-lab {trial} failed", at=now(), by=who(), why=why)
