"""A campaign opened for work: its spec, its materials, its ledger, and the rules for an edited campaign file."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from campaign.errors import Refusal
from campaign.materials import Materials
from campaign.names import nearest
from campaign.space import SearchSpace
from campaign.spec import CampaignSpec, LoadedCampaign, Range, load_spec
from flows import goals
from flows import settings as machine
from flows.settings import Settings
from store import Ledger, Reader

_DESCRIPTORS = ("conductivity_mS_cm", "activation_energy_eV", "density_g_cm3", "youngs_modulus_GPa")


@dataclass(frozen=True)
class Session:
    """One campaign file opened against one ledger."""

    loaded: LoadedCampaign
    settings: Settings
    ledger: Ledger
    lab_file: str | None = None
    """FILE.py:factory of the user's own virtual lab, if it answers; as it is run, it stands in no campaign file."""

    @property
    def spec(self) -> CampaignSpec:
        """What the campaign file says."""
        return self.loaded.spec

    @property
    def name(self) -> str:
        """The campaign's name, its key in the ledger."""
        return self.spec.campaign

    @cached_property
    def materials(self) -> Materials:
        """Our materials and the campaign's own."""
        return self.loaded.materials()

    @cached_property
    def space(self) -> SearchSpace:
        """The search space as the chooser takes it."""
        return space_of(self.loaded, self.materials)

    @property
    def reader(self) -> Reader:
        """The ledger as of now: every answer of one reader is of one moment."""
        return self.ledger.as_of(self.ledger.seq)


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


def who() -> str:
    """Name of this process run, for the ledger: user, host and process."""
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or "mixwright"
    return f"{user}@{socket.gethostname()}:{os.getpid()}"


def is_dead(holder: str) -> bool:
    """Say whether a name that `who` gave is of a process of this machine that is no longer there."""
    place, _, process = holder.rpartition(":")
    if not process.isdecimal() or place.rpartition("@")[2] != socket.gethostname():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # it is there, and another user's
    return False


def space_of(loaded: LoadedCampaign, materials: Materials) -> SearchSpace:
    """Build the search space of a campaign; electrolytes carry their descriptors, so that an untried one can be predicted.

    Raises:
        Refusal: names file and line of a constraint or forbidden combination that cannot be meant.
    """
    spec = loaded.spec
    asked = {
        name: (item.low, item.high) if isinstance(item, Range) else list(item) for name, item in spec.space.items()
    }
    steps = {name: item.step for name, item in spec.space.items() if isinstance(item, Range) and item.step}
    descriptors = {"sse": sse_descriptors(materials)} if "sse" in spec.space else {}

    def build(constraints: Sequence[str], forbidden: Sequence[Mapping[str, Any]]) -> SearchSpace:
        return SearchSpace.of(asked, constraints=constraints, steps=steps, forbidden=forbidden, descriptors=descriptors)

    build((), ())
    alone: list[tuple[str, Sequence[str], Sequence[Mapping[str, Any]]]] = [
        *((loaded.place("constraints", k), [rule], ()) for k, rule in enumerate(spec.constraints)),
        *((loaded.place("forbidden", k), (), [rule]) for k, rule in enumerate(spec.forbidden)),
    ]
    for place, constraints, forbidden in alone:
        try:
            build(constraints, forbidden)
        except Refusal as fault:
            raise Refusal(f"{place}: {fault}") from None
    return build(spec.constraints, spec.forbidden)


def sse_descriptors(materials: Materials) -> pd.DataFrame:
    """One row an electrolyte: what is known of it before any trial (halide share of each kind, conductivity, density, …)."""
    rows = {}
    for name, sse in materials.electrolytes.items():
        halides = {f"{halide}_per_formula": sse.halide_fractions.get(halide, 0.0) for halide in materials.halides}
        rows[name] = {column: getattr(sse, column) for column in _DESCRIPTORS} | halides
    return pd.DataFrame.from_dict(rows, orient="index")


def open_session(path: str | Path, *, write: bool = True, lab_file: str | None = None) -> Session:
    """Open a campaign file against the ledger of this machine.

    Args:
        path: campaign file.
        write: record the campaign (or its new version) in the ledger; without, nothing is written and a ledger must exist.
        lab_file: FILE.py:factory of a virtual lab of the user's own, where a virtual lab answers.

    Raises:
        Refusal: the file is faulty, its space leaves the evaluator's box, the edit changes what older trials mean, or a lab is
            given where none of them answers.
    """
    loaded = load_spec(path)
    if lab_file is not None and loaded.spec.evaluator != "virtual-lab":
        raise Refusal(
            f"{loaded.place('evaluator')}: who answers is {loaded.spec.evaluator!r}; a lab of your own (--lab {lab_file}) "
            "answers where this says virtual-lab"
        )
    settings = machine.load(loaded.path)
    ledger = open_ledger(settings, create=write)
    session = Session(loaded, settings, ledger, lab_file)
    _check_prior(session)
    _check_virtual_lab(session)
    check_lab(session)
    check_space(session)
    _check_edit(session)
    if write:
        ledger.put_campaign(session.name, json.loads(session.spec.canonical()), at=now(), by=who())
    elif ledger.spec(session.name) is None:
        raise Refusal(f"the ledger knows no campaign {session.name!r} yet; begin with: mixwright run {path}")
    return session


UNSEEN = ("discharge_energy", "sse_corrected")
"""Outcomes that no record of capacities shows."""


def _check_virtual_lab(session: Session) -> None:
    """Refuse what no virtual lab can answer, before anything is proposed to it.

    Raises:
        Refusal: several objectives, or an outcome that shows in no record of capacities.
    """
    spec, place = session.spec, session.loaded.place
    if spec.evaluator != "virtual-lab":
        return
    if len(spec.objectives) > 1:
        raise Refusal(
            f"{place('objectives')}: a virtual lab answers one objective, not {len(spec.objectives)}: keep "
            f"{spec.objective.outcome} and bound the others (outcome_constraints), or write evaluator: physics"
        )
    for block in ("objectives", "outcome_constraints"):
        for number, wanted in enumerate(getattr(spec, block)):
            if wanted.outcome.startswith(UNSEEN):
                raise Refusal(
                    f"{place(block, number)}: a virtual lab gives capacities and hours, and {wanted.outcome} needs voltages or "
                    "the electrolyte's own share: name a capacity or a retention, or write evaluator: physics"
                )


def _check_prior(session: Session) -> None:
    """Refuse to tell the published results to a chooser whose prior was fitted to them: they would count twice."""
    if session.spec.prior == "physics" and "published" in session.spec.learn_from:
        raise Refusal(
            f"{session.loaded.path}: prior: physics was fitted to the published results, and with learn_from: [published] they "
            "would count twice; leave one of the two out"
        )


def open_ledger(settings: Settings, *, create: bool) -> Ledger:
    """Open the ledger that the settings name.

    Raises:
        Refusal: there is none and `create` is false, or it cannot be made here.
    """
    if settings.ledger_url.startswith("sqlite:///"):
        path = Path(settings.ledger_url.removeprefix("sqlite:///"))
        if create:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise Refusal(f"the data directory {path.parent} cannot be made: {error.strerror}") from None
        elif not path.exists():
            raise Refusal(f"there is no ledger at {path} yet; `mixwright run` or `mixwright propose` makes it")
        return Ledger.open(path, create=create)
    return Ledger.open(settings.ledger_url, create=create)


def check_lab(session: Session) -> None:
    """Refuse a `lab:` block that no batch of this campaign can be made with.

    Raises:
        Refusal: a batch under the smallest one, or stock or price of a material that the campaign does not use.
    """
    lab, loaded = session.spec.lab, session.loaded
    if lab.batch_mass_g < lab.smallest_batch_g:
        raise Refusal(
            f"{loaded.place('lab', 'batch_mass_g')}: batches of {lab.batch_mass_g:g} g are under the smallest that the mixer "
            f"takes, {lab.smallest_batch_g:g} g; raise batch_mass_g, or say smallest_batch_g if the mixer takes less"
        )
    held = session.spec.conditions()
    used: list[str] = []
    for part in ("active", "sse", "carbon"):
        choices = session.spec.space.get(part, (str(held.get(part, "none")),))
        used += [] if isinstance(choices, Range) else [name for name in choices if name != "none"]
    for block in ("stock_g", "price_per_g"):
        for name in getattr(lab, block):
            if name not in used:
                raise Refusal(
                    f"{loaded.place('lab', block, name)}: {name!r} is no material of this campaign: {nearest(name, used)}"
                )


def check_space(session: Session) -> None:
    """Refuse a space that leaves the box of who answers: the model's validity, or what the lab's mixer can do.

    Raises:
        Refusal: names the line, the bound and the reason.
    """
    spec, loaded = session.spec, session.loaded
    fastest = session.materials.mixer(str(spec.conditions().get("mixer", "AR-100"))).max_speed_rpm
    fastest = min(fastest, spec.lab.max_speed_rpm or fastest)
    longest = spec.lab.max_run_time_h
    limits_of = {"speed_rpm": fastest, "time_h": longest}
    if _premills(spec):  # a run of its own before the mixing, on the same mixer
        limits_of |= {"premill_speed_rpm": fastest, "premill_h": longest}
    for name, limit in limits_of.items():
        item = spec.space.get(name)
        if isinstance(item, Range) and limit is not None and item.high > limit:
            raise Refusal(
                f"{loaded.place('space', name, 'high')}: {name} up to {item.high:g} is beyond the mixer, which ends at {limit:g}"
            )
        held = spec.conditions().get(name)
        if limit is not None and held is not None and float(held) > limit:
            raise Refusal(
                f"{loaded.place('fixed', name)}: {name} of {float(held):g} is beyond the mixer, which ends at {limit:g}"
            )
    _check_bounds(session)
    if (spec.evaluator == "lab" or session.lab_file is not None) and spec.prior == "none":
        return
    way_out = "; or write prior: none, to go without the physics"
    check_physics(loaded, session.materials, way_out=way_out if spec.evaluator == "lab" or session.lab_file else "")


def check_physics(loaded: LoadedCampaign, materials: Materials, *, way_out: str) -> None:
    """Refuse a space that leaves what the physics speaks of, at the end of an axis.

    Raises:
        Refusal: names the line, what the physics covers and why; `way_out` ends the sentence.
    """
    from models import limits

    spec = loaded.spec
    for axis, probe in _probes(spec):
        try:
            refused = limits.refusals(spec.designs(probe), materials=materials)[0]
        except Refusal as no_recipe:
            refused = str(no_recipe).removeprefix("row 0: ")
        if not refused:
            continue
        where = _where(spec, axis, refused)
        item, bound = spec.space.get(where[-1]), limits.BOX.get(where[-1])
        if isinstance(item, Range) and bound is not None and not bound.low <= item.low < item.high <= bound.high:
            refused = (
                f"{bound.name} goes from {item.low:g} to {item.high:g}, and the physics covers {bound.low:g} to {bound.high:g} "
                f"{bound.unit} ({bound.reason})"
            )
        raise Refusal(f"{loaded.place(*where)}: {refused}{way_out}")


def _check_bounds(session: Session) -> None:
    """Refuse a bound on what the recipe decides that no recipe of the space keeps."""
    spec = session.spec
    for number, bound in enumerate(spec.outcome_constraints):
        setting = goals.setting_of(bound.outcome, spec.space, spec.conditions())
        item = spec.space.get(setting[0]) if setting else None
        if setting is None or not isinstance(item, Range):
            continue
        low, high = (setting[1] * end + setting[2] for end in (item.low, item.high))
        if (bound.at_most is not None and bound.at_most < low) or (
            bound.at_least is not None and bound.at_least > high
        ):
            raise Refusal(
                f"{session.loaded.place('outcome_constraints', number)}: no recipe keeps {bound.sentence}: "
                f"with {setting[0]} from {item.low:g} to {item.high:g} it lies between {low:g} and {high:g}"
            )


def _premills(spec: CampaignSpec) -> bool:
    """Say whether any recipe of the campaign is milled before: a speed without hours is no run."""
    item = spec.space.get("premill_h")
    return item.high > 0 if isinstance(item, Range) else float(spec.conditions()["premill_h"]) > 0


def _probes(spec: CampaignSpec) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield one recipe for each end of each axis, the others in the middle: what the box would refuse shows itself."""
    space = spec.space
    middle = {name: (item.low + item.high) / 2 if isinstance(item, Range) else item[0] for name, item in space.items()}
    yield "", pd.DataFrame([middle])
    for name, item in space.items():
        for value in (item.low, item.high) if isinstance(item, Range) else item:
            yield name, pd.DataFrame([middle | {name: value}])


def _where(spec: CampaignSpec, axis: str, sentence: str) -> tuple[str, ...]:
    """Find the line that a refusal speaks of: the condition that it names, else the axis that was at its end."""
    for block in ("space", "fixed", "protocol"):
        for name in getattr(spec, block):
            if sentence.startswith(f"{name} "):
                return (block, name)
    return ("space", axis) if axis else ("space",)


def _check_edit(session: Session) -> None:
    """Refuse an edit after which older trials would answer another question."""
    known = session.ledger.spec(session.name)
    if known is None:
        return
    old, new = known[1], json.loads(session.spec.canonical())
    for block, word in (
        ("evaluator", "who answers"),
        ("objectives", "the objective"),
        ("protocol", "the protocol"),
        ("fixed", "a fixed condition"),
    ):
        if _meaning(old, block) != _meaning(new, block):
            raise Refusal(
                f"{session.loaded.place(block)}: {word} differs from the {len(session.ledger.trials(session.name))} trials "
                f"that campaign {session.name!r} holds ({block} was {json.dumps(old.get(block), ensure_ascii=False)}); "
                "they would answer another question: give the edited campaign a new name"
            )


def _meaning(spec: Mapping[str, Any], block: str) -> Any:
    value = spec.get(block)
    if isinstance(value, Mapping):
        return {name: float(item) if isinstance(item, int) else item for name, item in value.items()}
    return value
