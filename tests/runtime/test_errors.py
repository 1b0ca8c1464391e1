"""What a child process met is raised here as what it was there."""

import pytest

from snn_runtime import errors


@pytest.mark.parametrize("kind", ["UsageError", "BusyError", "SnnError"])
def test_the_error_of_another_process_has_its_class(kind: str) -> None:
    made = errors.named(kind, "bad_flag", "a flag")
    assert type(made).__name__ == kind and (made.code, made.message) == ("bad_flag", "a flag")


def test_a_class_that_is_not_here_is_an_error_all_the_same() -> None:
    assert type(errors.named("NewError", "internal", "of another version")) is errors.SnnError
