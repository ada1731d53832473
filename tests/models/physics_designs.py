"""What the property tests of the physics draw from."""

from hypothesis import strategies as st

from models.random_recipes import random_recipes as random_designs

__all__ = ["random_designs", "seeds"]

seeds = st.integers(0, 10_000)
