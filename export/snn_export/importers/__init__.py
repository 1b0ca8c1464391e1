"""Other people's networks: one module a format, each of which ends in a `Foreign`."""

from snn_export.importers.foreign import Foreign
from snn_export.importers.modules import from_module
from snn_export.importers.picture import Picture
from snn_export.importers.registry import contents, detect, load, size_in

__all__ = ["Foreign", "Picture", "contents", "detect", "from_module", "load", "size_in"]
