"""The compiler of this machine, for all tests that compile."""

import pytest

import event_build
from event_build import BuildError, Compiler


@pytest.fixture(scope="session")
def compiler() -> Compiler:
    try:
        return event_build.find_compiler()
    except BuildError as error:
        pytest.skip(str(error))
