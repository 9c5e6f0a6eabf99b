"""No input gets a 500, HTML, a malformed error or no answer; `make fuzz` is the long form."""

import pytest

from tests.fuzz.campaign import KINDS, Kind, fire
from tests.fuzz.target import Target

pytestmark = pytest.mark.long

CASES = 200
SEED = 20_261_126
"""The same inputs in every run, so that a change is to blame where one fails; the long form takes others."""


@pytest.mark.parametrize("engine", ["target", "http_target"], ids=["sdk", "http"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_answer_any_input_correctly(request: pytest.FixtureRequest, engine: str, kind: Kind) -> None:
    target: Target = request.getfixturevalue(engine)
    fire(target, kind, cases=round(CASES * kind.share), number=SEED, shrink=False)
