"""Files of the net, fetched once, kept, and compared with their checksums every time."""

import hashlib
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from snn_runtime.errors import InputError, ResourceError
from snn_runtime.files import cache_folder, write_atomic


def download(url: str, path: Path, md5: str) -> Path:
    """Fetch `url` to `path` with progress, unless it is there; only a matching file is kept.

    What is there is compared with its checksum every time: disks forget, and others write.

    Raises:
        InputError: `bad_data`, for a host that does not answer or a wrong checksum.
    """
    if path.is_file():
        checksum = _md5(path)
        if checksum != md5:
            raise InputError(
                "bad_data",
                f"{path}: is damaged: its checksum is {checksum}, expected {md5}; delete it, "
                "and it is downloaded again",
            )
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    received = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            with tqdm(
                total=total, desc=path.name, unit="B", unit_scale=True, disable=not _on_terminal()
            ) as bar:
                while chunk := answer.read(1 << 18):
                    received += chunk
                    bar.update(len(chunk))
    except (OSError, ValueError, HTTPException) as error:
        raise InputError("bad_data", f"{url}: cannot be downloaded ({error})") from error
    checksum = hashlib.md5(received, usedforsecurity=False).hexdigest()
    if checksum != md5:
        raise InputError("bad_data", f"{url}: checksum is {checksum}, expected {md5}")
    write_atomic(path, bytes(received))
    return path


def downloads_folder() -> Path:
    """Where downloads are kept, in the cache folder.

    Raises:
        ResourceError: `unwritable`: there is no home folder.
    """
    if (folder := cache_folder()) is None:
        raise ResourceError(
            "unwritable",
            "no folder to keep downloads in: set HOME or XDG_CACHE_HOME, or give the data's own "
            "file or folder, as in mnist:DIR",
        )
    return folder


def _md5(path: Path) -> str:
    try:
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    except OSError as error:
        raise InputError("bad_data", f"{path}: cannot be read ({error.strerror})") from error


def _on_terminal() -> bool:
    return sys.stderr.isatty()
