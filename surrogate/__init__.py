"""Choosing the next trial: what is believed about the outcome, and which recipe promises most."""

from surrogate.optimiser import Optimiser

__all__ = ["Optimiser"]
