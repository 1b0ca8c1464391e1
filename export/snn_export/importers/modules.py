"""Networks that come as a program: a torch module of snnTorch or SpikingJelly.

A state_dict names weights but not what follows what, so the user's own function builds the module.
It is run because the user named it; nothing in the weights file is.
"""

from pathlib import Path

from torch import Tensor, nn

from snn_export.importers.builder import aside, built
from snn_export.importers.copies import bare, copied, numbers
from snn_export.importers.foreign import Foreign
from snn_export.importers.hooked import Program
from snn_export.importers.layers import readout_notes
from snn_export.importers.picture import Picture
from snn_export.importers.snntorch_neurons import FRAMEWORK as SNNTORCH
from snn_export.importers.spiking import Framework
from snn_export.importers.spikingjelly_neurons import FRAMEWORK as SPIKINGJELLY
from snn_export.importers.torch_file import array
from snn_export.importers.trace import Traced, trace
from snn_runtime.errors import ModelError
from snn_train.torch_zip import unwrapped, unwrapped_state

_EXTRA = "_extra_state"
"""How torch ends the name of what `get_extra_state` gives: anything, and no weight."""
FRAMEWORKS = {each.name: each for each in (SNNTORCH, SPIKINGJELLY)}


@aside()
def from_module(network: nn.Module, picture: Picture) -> Foreign:
    """Return a module of snnTorch or SpikingJelly whose forward is one timestep, folded.

    It is copied, and stays as it was.

    Raises:
        ModelError: `unsupported`, naming the part that has no place in a T = 1 graph.
    """
    network = bare(network)
    framework, types = framework_of(network), numbers(network)
    network = copied(network)
    for name, tensor in network.state_dict().items():
        if not name.endswith(_EXTRA):
            array(name, tensor)
    size, classes = (picture.height, picture.width), len(picture.labels)
    traced = trace(network, framework, size, classes)
    program = Program(network, framework, traced, classes)
    notes = _notes(traced, types)
    return Foreign(framework.name, traced.layers, picture, program, notes, program.driven)


@aside()
def load(path: Path, weights: dict[str, Tensor], picture: Picture, builder: str) -> Foreign:
    """Return the network that `builder` (`net.py:build` or `package.net:build`) makes, with the
    weights that `path` holds.

    Raises:
        UsageError: there is no such function.
        ModelError: the function or the weights are not fit for this.
    """
    network = built(builder)
    names = network.state_dict().keys()
    if weights.keys() != names:  # a network may itself have a part that is called "module"
        inner = {unwrapped(name): name for name in names}
        held = unwrapped_state(path, weights)
        weights = {inner.get(name, name): tensor for name, tensor in held.items()}
    try:
        network.load_state_dict(weights)
    except Exception as error:  # the user's own code can raise anything
        problem = " ".join(str(error).split())[:200]
        raise ModelError("bad_checkpoint", f"{path}: does not fit {builder}: {problem}") from error
    return from_module(network, picture)


def framework_of(network: nn.Module) -> Framework:
    """Tell by its neurons whose network it is.

    Raises:
        ModelError: `unsupported`: nobody's that we know, or two's.
    """
    kind, modules = type(network).__name__, list(network.modules())
    found = [each for each in FRAMEWORKS.values() if any(map(each.owns, modules))]
    if not found:
        problem = f"{kind}: has no neurons of {' or '.join(FRAMEWORKS)}, expected some"
        raise ModelError("unsupported", problem)
    if len(found) > 1:
        both = " and of ".join(each.name for each in found)
        raise ModelError("unsupported", f"{kind}: has neurons of {both}, expected one of them")
    return found[0]


def _notes(traced: Traced, types: list[str]) -> tuple[str, ...]:
    notes = [f"the module holds {each}, and was read and compared in float32" for each in types]
    notes += readout_notes(traced.layers)
    if traced.others:
        place = "".join(f"[{each!r}]" for each in traced.place)
        notes.append(
            f"forward returns {1 + traced.others} outputs of a number a class, and {place}, the "
            "first of them, was taken"
        )
    if traced.head is not None:
        kinds = " and ".join(traced.head.kinds)
        notes.append(
            f"{kinds} behind the logits is left out: it puts no class before another, and where it "
            "makes some equal, such as beyond a limit, the file tells them apart"
        )
    return tuple(notes)
