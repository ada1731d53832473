"""For all tests: none is a race against a clock, as a busy machine would lose it."""

from hypothesis import settings

settings.register_profile("mixwright", deadline=None)
settings.load_profile("mixwright")
