"""Choosing the next trial: what is believed about the outcome, and which recipe promises most."""

import warnings

with warnings.catch_warnings():
    # BoTorch's import trips over a deprecation inside torch.jit.
    warnings.simplefilter("ignore", DeprecationWarning)
    import botorch  # noqa: F401

from surrogate.optimiser import Optimiser

__all__ = ["Optimiser"]
