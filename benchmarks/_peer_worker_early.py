"""Other tools where values change while cells run: as _peer_worker.py, but told everything anew with every question.

    {"op": "ask", "told": [[recipe, value or null], …], "pending": [recipe, …]}   ->  {"recipe": {…}}

No tool takes back a value that it was told, but each takes a table of results that it did not ask for itself.
"""

import json
import sys
from importlib.metadata import version

import _peer_worker as worker

INITIAL = 5
"""Results after which Ax's default strategy asks its model."""


class Ax(worker.Ax):
    """A new Client a question; what it did not propose itself is attached (https://ax.dev/docs/recipes/attach-trial)."""

    def __init__(self, space: dict, seed: int, simulated: list) -> None:
        self.space, self.seed = space, seed

    def ask(self, told: list, pending: list) -> dict:
        """Return the next recipe."""
        super().__init__(self.space, 1000 * self.seed + len(told) + len(pending), [])
        # Attached trials do not count as initialised: with as many results as its default wants, the model is asked at once.
        enough = sum(value is not None for _, value in told) >= INITIAL
        self.client.configure_generation_strategy(
            initialization_budget=0 if enough else INITIAL,
            initialize_with_center=not told and not pending,
            allow_exceeding_initialization_budget=True,
        )
        for recipe, value in told:
            self.tell(self.client.attach_trial(parameters=recipe), recipe, value)
        for recipe in pending:
            self.client.attach_trial(parameters=recipe)
        return super().ask()[1]


class BayBE(worker.BayBE):
    """A new Campaign a question."""

    def __init__(self, space: dict, seed: int, simulated: list) -> None:
        super().__init__(space, seed, [])
        self.blank = self.campaign.to_json()

    def ask(self, told: list, pending: list) -> dict:
        """Return the next recipe."""
        self.campaign = type(self.campaign).from_json(self.blank)
        self.pending = dict(enumerate(pending))
        good = [recipe | {"value": value} for recipe, value in told if value is not None]
        if good:
            self.campaign.add_measurements(self.pd.DataFrame(good))
        return super().ask()[1]


class Optuna(worker.Optuna):
    """A new study a question; the sampler stays the same (https://optuna.readthedocs.io: Study.add_trial)."""

    def ask(self, told: list, pending: list) -> dict:
        """Return the next recipe."""
        self.study = self.optuna.create_study(direction="maximize", sampler=self.study.sampler)
        states, made = self.optuna.trial.TrialState, self.optuna.trial.create_trial
        for recipe, value in told:
            state = states.FAIL if value is None else states.COMPLETE
            self.study.add_trial(made(params=recipe, distributions=self.space, value=value, state=state))
        for recipe in pending:
            self.study.add_trial(made(params=recipe, distributions=self.space, state=states.RUNNING))
        return super().ask()[1]


METHODS = {"ax": Ax, "baybe": BayBE, "optuna-gp": Optuna}


def main() -> None:
    """Answer until the other side closes."""
    out, sys.stdout = sys.stdout, sys.stderr  # whatever a tool prints is no answer
    peer = None
    for line in sys.stdin:
        message = json.loads(line)
        if message["op"] == "open":
            kind = METHODS[message["method"].removesuffix("-early")]
            peer = kind(message["space"], message["seed"], [])
            answer = {"version": f"{kind.package} {version(kind.package)}"}
        else:
            answer = {"recipe": peer.ask(message["told"], message["pending"])}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
