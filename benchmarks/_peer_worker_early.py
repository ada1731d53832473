"""Other tools where values change while cells run: as _peer_worker.py, but told everything anew with every question.

    {"op": …, "told": [[recipe, value or null], …], "pending": [recipe, …]}

No tool takes back a value that it was told, but each takes a table of results that it did not ask for itself.
"""

import _peer_worker as worker

INITIAL = 5
"""Results after which Ax's default strategy asks its model."""


class Ax(worker.Ax):
    """A new Client a question; what it did not propose itself is attached (https://ax.dev: Client.attach_trial)."""

    def __init__(self, space: dict, seed: int, simulated: list) -> None:
        self.space, self.seed = space, seed

    def ask(self, told: list, pending: list) -> tuple:
        """Return a number and the next recipe."""
        self._open(told, pending)
        return super().ask()

    def recommend(self, told: list, pending: list) -> dict | None:
        """Return the best recipe told, by its model; None where it has none yet."""
        if sum(value is not None for _, value in told) < INITIAL:
            return None
        self._open(told, pending)
        super().ask()  # a new Client has no model before it has proposed something
        return super().recommend()

    def _open(self, told: list, pending: list) -> None:
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


class BayBE(worker.BayBE):
    """A new Campaign a question."""

    def __init__(self, space: dict, seed: int, simulated: list) -> None:
        super().__init__(space, seed, [])
        self.blank = self.campaign.to_json()

    def ask(self, told: list, pending: list) -> tuple:
        """Return a number and the next recipe."""
        self.campaign = type(self.campaign).from_json(self.blank)
        self.pending = dict(enumerate(pending))
        self.count = len(pending)
        good = [recipe | {"value": value} for recipe, value in told if value is not None]
        if good:
            self.campaign.add_measurements(self.pd.DataFrame(good))
        return super().ask()

    def recommend(self, told: list, pending: list) -> None:
        """BayBE names no best recipe."""


class Optuna(worker.Optuna):
    """A new study a question; the sampler stays the same (https://optuna.readthedocs.io: Study.add_trial)."""

    def ask(self, told: list, pending: list) -> tuple:
        """Return a number and the next recipe."""
        self.study = self.optuna.create_study(direction="maximize", sampler=self.study.sampler)
        states, made = self.optuna.trial.TrialState, self.optuna.trial.create_trial
        for recipe, value in told:
            state = states.FAIL if value is None else states.COMPLETE
            self.study.add_trial(made(params=recipe, distributions=self.space, value=value, state=state))
        for recipe in pending:
            self.study.add_trial(made(params=recipe, distributions=self.space, state=states.RUNNING))
        return super().ask()

    def recommend(self, told: list, pending: list) -> None:
        """A study's best trial is that of the best value told."""


if __name__ == "__main__":
    worker.main({"ax-early": Ax, "baybe-early": BayBE, "optuna-gp-early": Optuna})
