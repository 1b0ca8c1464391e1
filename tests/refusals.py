"""How train-snn says no."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train.conftest import Answer


def refused(answer: "Answer", code: int, *expected: str) -> None:
    """Exit code, and one line on stderr that holds all that is expected."""
    assert answer.code == code, answer.err
    assert answer.err.startswith("train-snn: error: ")
    assert answer.err.count("\n") == 1 and answer.err.endswith("\n")
    assert answer.out == ""
    for part in expected:
        assert part in answer.err
