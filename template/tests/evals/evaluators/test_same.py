"""The very answer that was expected."""

import pytest

from evals.evaluators.same import Same
from tests.evals.evaluators.contexts import context, found


@pytest.mark.parametrize(
    ("output", "holds"), [("billing", True), ("Billing", False), (None, False), ("", False)]
)
def test_only_the_same_is_the_same(output: object, holds: bool) -> None:
    assert found(Same(), context(output, "billing")) is holds
