"""One thread for the small matrices of a proposal.

A second thread gains nothing at these sizes, spins where the machine is shared (ten times the processor time was seen), and
makes the last digits, and so a proposal, depend on the number of cores.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import scipy.linalg  # noqa: F401 - its BLAS must be loaded for the controller to find it
import torch
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # ships no types

P = ParamSpec("P")
R = TypeVar("R")
_BLAS = ThreadpoolController()


def one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function with one thread for BLAS and torch; the caller's setting comes back afterwards."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with _BLAS.limit(limits=1, user_api="blas"):
                return function(*args, **kwargs)
        finally:
            torch.set_num_threads(before)

    return limited
