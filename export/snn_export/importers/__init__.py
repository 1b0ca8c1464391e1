"""Other people's networks, each of which ends in a `Foreign`.

which      registry (by content), torch_file, nir_file (what is checked before they are read)
formats    modules (torch modules: builder, copies), nir_graphs, iir_official with iir_layers
neurons    snntorch_neurons, spikingjelly_neurons, spiking (what one timestep makes of them)
program    trace ─► tracer (torch.fx), program, outputs, calls, bindings, joins, probe, modular
layers     layers (as data), execute (run one by one), lower ─► values, pooling, readout (folded)
results    foreign, hooked (a module that runs as it was), picture (what a file does not say)
"""

from snn_export.importers.foreign import Foreign
from snn_export.importers.modules import from_module
from snn_export.importers.picture import Picture
from snn_export.importers.registry import contents, detect, load, size_in

__all__ = ["Foreign", "Picture", "contents", "detect", "from_module", "load", "size_in"]
