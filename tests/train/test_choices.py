"""The names that flags offer before torch is loaded are those that the rest can carry out."""

from typing import get_args

from snn_runtime.graph.population import MAX_LEVELS
from snn_train import choices
from snn_train.defaults import DEFAULTS
from snn_train.neuron import SURROGATES


def test_choices_are_what_can_be_carried_out() -> None:
    assert set(get_args(choices.Surrogate)) == set(SURROGATES)
    assert set(get_args(choices.RecipeName)) == set(DEFAULTS)
    assert choices.MOST_LEVELS == MAX_LEVELS
