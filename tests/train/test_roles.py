"""Training only some calls of an attempt."""

from reasonry.core import Cost, Segment, Stop, Trajectory
from reasonry.train.compose import recipe_of
from reasonry.train.recipe import every_segment
from reasonry.train.settings import Settings
from reasonry.train.tokens import flatten


def call(role: str, n: int) -> Segment:
    return Segment((1, 2), tuple(range(n)), "x", (-1.0,) * n, Stop.EOS, Cost(), role=role)


def test_only_the_aggregation_is_trained_when_its_role_is_named():
    """The candidates' tokens are not in the batch at all; without `roles` every call is."""
    attempts = [Trajectory("p", (call("answer", 5), call("answer", 4), call("aggregate", 3)), "x", Stop.EOS)] * 2
    s = Settings(model="pocket", task="word", solver="agglm?m=2", objective="agglm", roles=("aggregate",))
    recipe = recipe_of(s)
    assert flatten(attempts, [1.0, 0.0], recipe.trained).lengths.tolist() == [3, 3]
    assert recipe_of(Settings(model="pocket", task="word")).trained is every_segment
