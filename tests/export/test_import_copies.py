"""The caller's module stays as it was; wrappers and other types of number are seen through."""

import threading
from typing import Any

import networks
import pytest
import torch
import torch.nn.functional as F
from snntorch import Leaky
from torch import Tensor, nn

from snn_export.importers import Foreign, Picture, from_module
from snn_export.importers.copies import copied
from snn_export.parity import compare
from snn_export.unrounded import to_float32
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import ModelError

PICTURE = Picture.of(tuple("abcd"), (8, 8), (0.5,), (0.25,))


def network() -> Any:
    torch.manual_seed(0)
    neurons = Leaky(0.9, threshold=0.3, init_hidden=True)
    return nn.Sequential(nn.Conv2d(3, 4, 3), neurons, nn.Flatten(), nn.Linear(144, 4))


def proven(foreign: Foreign) -> Foreign:
    graph = to_float32(foreign.fold())
    compare(foreign, graph, OrtBackend(graph, threads=1), networks.pictures((8, 8), 4))
    return foreign


def test_training_goes_on_behind_an_import() -> None:
    made = network().train()
    made[3].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    proven(from_module(made, PICTURE))
    assert all(module.training for module in made.modules())
    assert [each.requires_grad for each in made.parameters()] == [True, True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    loss: Any = F.cross_entropy(made(torch.rand(2, 3, 8, 8)), torch.tensor([0, 1]))
    loss.backward()
    assert made[0].weight.grad is not None


def test_what_is_learnt_later_does_not_reach_what_was_imported() -> None:
    made = network()
    foreign = from_module(made, PICTURE)
    with torch.no_grad():
        made[0].weight.neg_()
    proven(foreign)


def test_a_module_that_has_run_is_copied_with_its_membranes_and_normed_weights() -> None:
    """Both were computed with gradients, which torch refuses to copy."""
    made = network()
    with pytest.warns(FutureWarning, match="weight_norm"):
        made[3] = nn.utils.weight_norm(made[3])
    made(torch.rand(2, 3, 8, 8))
    assert made[1].mem.grad_fn is not None
    proven(from_module(made, PICTURE))
    assert made[1].mem.grad_fn is not None


class Locked(nn.Sequential):
    """Holds what there can be but one of."""

    def __init__(self) -> None:
        super().__init__(*network())
        self.lock = threading.Lock()


class Uncopied(nn.Sequential):
    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise NotImplementedError("there is\nbut one")


def test_what_cannot_be_copied_is_shared_or_refused() -> None:
    made: Any = Locked()
    twin: Any = copied(made)
    assert twin.lock is made.lock
    proven(from_module(made, PICTURE))
    with pytest.raises(ModelError) as refusal:
        from_module(Uncopied(*network()), PICTURE)
    assert "Uncopied: cannot be copied (NotImplementedError: there is but one)" in str(
        refusal.value
    )


def compiled(module: nn.Module) -> Any:
    return torch.compile(module, backend="eager")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch.jit
@pytest.mark.parametrize(
    "wrapped", [nn.DataParallel, compiled, lambda module: compiled(nn.DataParallel(module))]
)
def test_wrappers_of_a_module_are_looked_through(wrapped: Any) -> None:
    assert proven(from_module(wrapped(network()), PICTURE)).layers.output == "3"


@pytest.mark.parametrize("number", [torch.float64, torch.bfloat16, torch.float16])
def test_other_numbers_are_read_as_float32_and_said(number: torch.dtype) -> None:
    made = network().to(number)
    foreign = proven(from_module(made, PICTURE))
    name = str(number).removeprefix("torch.")
    note = f"the module holds {name}, and was read and compared in float32"
    assert foreign.notes == (note,)
    assert made[0].weight.dtype == number


class Double(nn.Sequential):
    def forward(self, input: Tensor) -> Any:
        forward: Any = super().forward
        return forward(input.double())


def test_a_type_of_number_is_not_blamed_on_the_size() -> None:
    with pytest.raises(
        ModelError, match="cannot be run .*; give a module that computes in fl"
    ) as no:
        from_module(Double(*network()), PICTURE)
    assert "--image-size" not in str(no.value)
