"""Another tool as a subprocess: JSON lines in, JSON lines out, run by the peers' own Python (see _peers.py).

    {"op": "open", "method": …, "space": {…}, "seed": …, "simulated": [[recipe, value], …]}   ->  {"version": …}
    {"op": "ask"}                                                        ->  {"id": …, "recipe": {…}}
    {"op": "tell", "id": …, "value": … or null}                          ->  {}
    {"op": "recommend"}                ->  {"recipe": {…}, or null where the tool names but the best value it was told}

Each tool is set up as its own documentation says; numbers are continuous, names are choices, larger is better.
"""

import json
import logging
import os
import sys
import warnings
from importlib.metadata import version

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)


class Ax:
    """https://ax.dev/docs/tutorials/quickstart: Client, default generation strategy (Sobol, then GP with its own choice)."""

    package = "ax-platform"

    def __init__(self, space: dict, seed: int, simulated: list) -> None:
        from ax.api.client import Client
        from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

        self.client = Client(random_seed=seed)
        self.client.configure_experiment(
            parameters=[
                ChoiceParameterConfig(name=name, values=given, parameter_type="str", is_ordered=False)
                if isinstance(given[0], str)
                else RangeParameterConfig(name=name, bounds=tuple(given), parameter_type="float")
                for name, given in space.items()
            ]
        )
        self.client.configure_optimization(objective="value")

    def ask(self) -> tuple:
        """Return a number and the next recipe."""
        (number, recipe), *_ = self.client.get_next_trials(max_trials=1).items()
        return number, recipe

    def tell(self, number: int, recipe: dict, value: float | None) -> None:
        """Take in a result; None = failed."""
        if value is None:
            self.client.mark_trial_failed(trial_index=number)
        else:
            self.client.complete_trial(trial_index=number, raw_data={"value": value})

    def recommend(self) -> dict:
        """Return the best recipe told, by its model, as is its default."""
        return dict(self.client.get_best_parameterization()[0])


class BayBE:
    """https://emdgroup.github.io/baybe: Campaign with its default two-phase recommender; pending experiments are handed."""

    package = "baybe"

    def __init__(self, space: dict, seed: int, simulated: list) -> None:
        import pandas as pd
        from baybe import Campaign
        from baybe.objectives import SingleTargetObjective
        from baybe.parameters import CategoricalParameter, NumericalContinuousParameter, TaskParameter
        from baybe.searchspace import SearchSpace
        from baybe.targets import NumericalTarget
        from baybe.utils.random import set_random_seed

        set_random_seed(seed)
        self.pd, self.names, self.pending, self.count, self.task = pd, list(space), {}, 0, {}
        parameters = [
            CategoricalParameter(name, values=given)
            if isinstance(given[0], str)
            else NumericalContinuousParameter(name, bounds=tuple(given))
            for name, given in space.items()
        ]
        if simulated:
            parameters.append(TaskParameter("source", values=["lab", "simulator"], active_values=["lab"]))
            self.task = {"source": "lab"}
        objective = SingleTargetObjective(NumericalTarget(name="value"))
        self.campaign = Campaign(SearchSpace.from_product(parameters), objective)
        if simulated:
            table = pd.DataFrame([recipe | {"value": value, "source": "simulator"} for recipe, value in simulated])
            self.campaign.add_measurements(table)

    def ask(self) -> tuple:
        """Return a number and the next recipe."""
        pending = self.pd.DataFrame(list(self.pending.values())) if self.pending else None
        row = self.campaign.recommend(batch_size=1, pending_experiments=pending)
        recipe = {name: row[name].iloc[0] for name in self.names}
        recipe = {name: value if isinstance(value, str) else float(value) for name, value in recipe.items()}
        self.count += 1
        self.pending[self.count] = recipe | self.task
        return self.count, recipe

    def tell(self, number: int, recipe: dict, value: float | None) -> None:
        """Take in a result; None = failed."""
        self.pending.pop(number)
        if value is not None:  # BayBE has no failed experiments
            self.campaign.add_measurements(self.pd.DataFrame([recipe | self.task | {"value": value}]))

    def recommend(self) -> None:
        """BayBE names no best recipe."""


class Optuna:
    """https://optuna.readthedocs.io: ask and tell; GPSampler told that data are noisy."""

    package = "optuna"

    def __init__(self, space: dict, seed: int, simulated: list) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna = optuna
        self.space = {
            name: optuna.distributions.CategoricalDistribution(given)
            if isinstance(given[0], str)
            else optuna.distributions.FloatDistribution(*given)
            for name, given in space.items()
        }
        self.study = optuna.create_study(direction="maximize", sampler=self.sampler(seed))
        self.trials = {}

    def sampler(self, seed: int) -> object:
        """Return the sampler."""
        return self.optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)

    def ask(self) -> tuple:
        """Return a number and the next recipe."""
        trial = self.study.ask(self.space)
        self.trials[trial.number] = trial
        return trial.number, trial.params

    def tell(self, number: int, recipe: dict, value: float | None) -> None:
        """Take in a result; None = failed."""
        state = self.optuna.trial.TrialState.FAIL if value is None else None
        self.study.tell(self.trials.pop(number), value, state=state)

    def recommend(self) -> None:
        """A study's best trial is that of the best value told."""


class Sobol(Optuna):
    """Quasi-random."""

    def sampler(self, seed: int) -> object:
        """Return the sampler."""
        return self.optuna.samplers.QMCSampler(seed=seed, scramble=True)


class Random(Optuna):
    """Random."""

    def sampler(self, seed: int) -> object:
        """Return the sampler."""
        return self.optuna.samplers.RandomSampler(seed=seed)


METHODS = {"ax": Ax, "baybe": BayBE, "baybe-transfer": BayBE, "optuna-gp": Optuna, "sobol": Sobol, "random": Random}


def main(methods: dict = METHODS) -> None:
    """Answer until the other side closes."""
    out, sys.stdout = sys.stdout, sys.stderr  # whatever a tool prints is no answer
    peer, recipes = None, {}
    for line in sys.stdin:
        message = json.loads(line)
        told = {name: message[name] for name in ("told", "pending") if name in message}
        answer = {}
        if message["op"] == "open":
            kind = methods[message["method"]]
            peer = kind(message["space"], message["seed"], message.get("simulated") or [])
            answer = {"version": f"{kind.package} {version(kind.package)}"}
        elif message["op"] == "ask":
            number, recipe = peer.ask(**told)
            recipes[number] = recipe
            answer = {"id": number, "recipe": recipe}
        elif message["op"] == "recommend":
            answer = {"recipe": peer.recommend(**told)}
        else:
            peer.tell(message["id"], recipes.pop(message["id"]), message["value"])
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
