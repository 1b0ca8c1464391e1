"""Pictures in a bucket, or wherever else fsspec reaches: `s3://…`, `gs://…`, `abfs://…`.

For `records`: the command itself reads files. The name of a picture is its address, so any process
on any machine can read it by that name.
"""

import logging
import os

from snn_runtime.door import refusal
from snn_runtime.errors import DeviceError, InputError
from snn_runtime.image import read_file, read_stream
from snn_runtime.image.folder import named_as_picture
from snn_runtime.infer.sources import Source, at

_LOG = logging.getLogger(__name__)


def find(place: str) -> list[Source]:
    """Return the pictures of a folder, or of a bucket by the same rules for names.

    Links that lead outside a folder are left out with a warning.

    Raises:
        InputError: `no_images`, `missing`, `permission_denied` or `unreadable`, of a bucket.
        DeviceError: `missing_package`: fsspec, or what it needs for this address.
    """
    if "://" not in place:
        found = list(at(os.path.abspath(place)))
        for source in found:
            if source.skipped:
                _LOG.warning("%s: %s, skipped", source.name, source.skipped)
        return [source for source in found if not source.skipped]
    try:
        import fsspec

        files, root = fsspec.url_to_fs(place)
        names = files.find(root)
    except Exception as error:
        refused = _refused(error)
        raise type(refused)(refused.code, f"{place}: {refused.message}") from error
    pictures = [name for name in names if named_as_picture(os.path.relpath(name, root))]
    if not pictures:
        raise InputError("no_images", f"{place}: no supported images there")
    return [Source(files.unstrip_protocol(name)) for name in pictures]


def read(name: str) -> bytes:
    """Return the bytes of a picture that `find` has named.

    Raises:
        InputError: see `door.open_file`.
        DeviceError: `missing_package`.
    """
    if "://" not in name:
        return read_file(name)
    try:
        import fsspec

        with fsspec.open(name) as stream:
            return read_stream(stream)
    except Exception as error:
        raise _refused(error) from error


def _refused(error: Exception) -> InputError | DeviceError:
    """Return what an error of fsspec means: it lets through those of any package that it uses."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, ImportError):
        return DeviceError("missing_package", f"{error}")
    if isinstance(error, OSError):
        return refusal(error)
    return InputError("unreadable", f"cannot be read: {type(error).__name__}: {error}")
