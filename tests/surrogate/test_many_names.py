"""A prior over more names than can each be tried first: a name that it alone condemns is tried all the same."""

import numpy as np

from surrogate import Optimiser

WORTH = {f"n{i:02d}": 40.0 + 3.0 * ((5 * i) % 13) for i in range(13)} | {"n06": 100.0}
SPACE = {"name": list(WORTH), "time_h": (0.5, 12)}


def truth(recipes, worth=WORTH):
    return (recipes.name.map(worth) * np.exp(-(((recipes.time_h - 4) / 5) ** 2))).to_numpy(float)


def trials_until_found(prior, limit, *, seed=0):
    opt = Optimiser(SPACE, prior=prior, seed=seed)
    for n in range(1, limit + 1):
        recipes = opt.ask(1)
        value = truth(recipes)
        if value[0] > 95:
            return n
        opt.tell(recipes, value)
    return limit + 1


def test_the_best_of_many_names_is_found_though_the_prior_condemns_it():
    condemned = WORTH | {"n06": 50.0}
    assert trials_until_found(lambda recipes: truth(recipes, condemned), 22) <= 22


def test_a_prior_that_knows_the_best_of_many_names_is_followed_at_once():
    assert trials_until_found(truth, 3) <= 2


def test_a_prior_is_asked_of_few_names_for_each_recipe_however_many_there_are():
    asked = []

    def prior(recipes):
        asked.append(len(recipes))
        return truth(recipes)

    few = {name: WORTH[name] for name in list(WORTH)[:8]}
    Optimiser(SPACE | {"name": list(few)}, prior=prior, seed=0).ask(1)
    with_few, asked = sum(asked), []
    names = [f"m{i:02d}" for i in range(40)]
    worth = {name: 50.0 + i for i, name in enumerate(names)}

    def wide(recipes):
        asked.append(len(recipes))
        return truth(recipes, worth)

    Optimiser(SPACE | {"name": names}, prior=wide, seed=0).ask(1)
    assert sum(asked) < 1.5 * with_few
