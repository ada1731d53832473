"""Other tools for the calendar, where results come months after the asking: as _peer_worker.py but for what needs a setting.

Ax's default strategy refuses to propose once its five Sobol trials are out and none is back; its documentation gives the
option to go on with Sobol until results come (`allow_exceeding_initialization_budget`).
"""

import _peer_worker as worker


class AxAsync(worker.Ax):
    """Ax for trials in parallel."""

    def __init__(self, space: dict, seed: int, simulated: list) -> None:
        super().__init__(space, seed, simulated)
        self.client.configure_generation_strategy(
            allow_exceeding_initialization_budget=True, initialization_random_seed=seed
        )


worker.METHODS["ax-async"] = AxAsync

if __name__ == "__main__":
    worker.main()
