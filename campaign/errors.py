"""The one exception that a user is meant to see."""


class Refusal(Exception):
    """A request that is refused with one sentence: what is wrong, where, and what would be right."""
