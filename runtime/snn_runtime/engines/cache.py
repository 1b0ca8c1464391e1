"""The engine cache: engines kept between runs, in a private directory, each authenticated.

    $IIR_SNN_CACHE, else $XDG_CACHE_HOME/iir-snn, else ~/.cache/iir-snn        0700
        <key>.engine      magic, HMAC-SHA256, length and JSON of the header, payload
        iir-snn.secret    magic, 32 random bytes                                0600
        lock-secret       one process at a time makes the secret; who finds it needs no lock
        lock-0 … lock-f   one builder at a time; sixteen, so that none is left over
        quarantine/       entries that were not genuine

An engine is code. So only bytes are deserialised whose HMAC proves that this user's runtime wrote
them under this key. That catches damage (truncation, flipped bits, mixed-up files) and entries from
elsewhere: another machine's backup, a download, a program tricked into writing a file of its
choice. It does not keep out a process that can read the secret: root's, or this user's own.

A bad entry is quarantined and the engine is built again. With a bad directory, engines are built
and not kept, and one line is logged. The directory may hold files of the user's own: only those
that `cache_files` lists are ever removed.
"""

import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_runtime.engines import cache_files
from snn_runtime.engines.cache_files import MAGIC, QUARANTINE, SECRET, SECRET_MAGIC
from snn_runtime.errors import ResourceError
from snn_runtime.files import sweep_temporary, write_atomic
from snn_runtime.machine.private import Unusable, acquire, check_private, directory, read_own

LOG = logging.getLogger(__name__)

LARGEST = 2**31
"""Bytes of all entries; the least recently used go first."""
QUARANTINED = 4
"""Entries kept for inspection."""
LOCK = "lock-secret"
_SECRET = 32
_MAC = hashlib.sha256().digest_size
_LENGTH = 4


@dataclass(frozen=True)
class Entry:
    """An engine, or a choice of one, under its key."""

    header: Mapping[str, Any]
    payload: bytes


class Cache:
    """An open directory of engines."""

    def __init__(self, path: Path) -> None:
        """Raises Unusable."""
        self.path, self._keeps = path, True
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_private(path)
            self._secret = self._found_secret() or self._made_secret()
            if not os.access(path, os.W_OK):
                raise Unusable(f"{path}: cannot be written")
            cache_files.sweep_abandoned(path)
        except (OSError, ResourceError) as error:
            raise Unusable(f"{path}: {getattr(error, 'strerror', None) or error}") from error

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Keep other processes from working on a key; without a lock nothing is kept."""
        with ExitStack() as held:
            try:
                held.enter_context(_locked(self.path / f"lock-{key[0]}", "the engine"))
            except OSError as error:
                self._keeps = False
                where = error.filename or self.path
                LOG.warning("engines are not kept: %s: %s", where, error.strerror)
            yield

    def load(self, key: str) -> Entry | None:
        """Return the entry of `key`; one that is not genuine is quarantined."""
        try:
            data = read_own(self._file(key))
        except FileNotFoundError:
            return None
        except OSError as error:  # ELOOP: a link
            self.quarantine(key, error.strerror or str(error))
            return None
        entry = self._opened(key, data)
        if entry is None:
            self.quarantine(key, "it is damaged, or was not written by this user's runtime")
        return entry

    def store(self, key: str, header: Mapping[str, Any], payload: bytes) -> None:
        """Keep an entry; where the disk is full, log it and keep none."""
        if not self._keeps:
            return
        text = json.dumps({**header, "key": key}, sort_keys=True).encode()
        rest = len(text).to_bytes(_LENGTH, "little") + text + payload
        try:
            write_atomic(self._file(key), MAGIC + self._mac(rest) + rest)
            self._make_room(key)
        except (OSError, ResourceError) as error:
            LOG.warning("engines are not kept: %s", error)

    def quarantine(self, key: str, why: str) -> None:
        """Move an entry to where it is not loaded."""
        away = self.path / QUARANTINE
        try:
            away.mkdir(mode=0o700, exist_ok=True)
            check_private(away)
            os.replace(self._file(key), away / f"{key}-{time.time_ns()}")
            for old in sorted(cache_files.quarantined(self.path), key=_age)[:-QUARANTINED]:
                old.unlink(missing_ok=True)
        except (OSError, Unusable):
            return  # another process was faster, or nothing can be moved; it is not used
        LOG.warning("a cached engine is quarantined and built again: %s", why)

    def _file(self, key: str) -> Path:
        return self.path / f"{key}{cache_files.SUFFIX}"

    def _mac(self, rest: bytes) -> bytes:
        return hmac.digest(self._secret, MAGIC + rest, "sha256")

    def _opened(self, key: str, data: bytes) -> Entry | None:
        start = len(MAGIC) + _MAC
        rest = data[start:]
        if data[: len(MAGIC)] != MAGIC or len(rest) < _LENGTH:
            return None
        if not hmac.compare_digest(data[len(MAGIC) : start], self._mac(rest)):
            return None
        length = int.from_bytes(rest[:_LENGTH], "little")
        header = json.loads(rest[_LENGTH : _LENGTH + length])
        if header["key"] != key:
            return None
        with suppress(OSError):  # the time of last use, for `_make_room`
            os.utime(self._file(key))
        return Entry(header, rest[_LENGTH + length :])

    def _found_secret(self) -> bytes | None:
        """It is written in one step, so whoever finds it finds all of it."""
        with suppress(OSError):
            return self._read_secret()
        return None

    def _made_secret(self) -> bytes:
        """Write a new secret, which makes every older entry void, unless somebody just has."""
        with _locked(self.path / LOCK, "the engines' secret"):
            try:
                secret = self._read_secret()
            except OSError as error:
                LOG.warning("the engines' secret is made anew: %s", error.strerror or error)
                secret = None
            if secret is None:
                secret = secrets.token_bytes(_SECRET)
                write_atomic(self.path / SECRET, SECRET_MAGIC + secret, private=True)
        return secret

    def _read_secret(self) -> bytes | None:
        """Return it, or None where there is none.

        Raises:
            OSError: it is not to be used.
            Unusable: the file is another one.
        """
        file = self.path / SECRET
        if not os.path.lexists(file):
            return None
        if not cache_files.begins_with(file, SECRET_MAGIC):
            raise Unusable(f"{file} is not the engines' secret: move it elsewhere")
        data = read_own(file, private=True).removeprefix(SECRET_MAGIC)
        return data if len(data) == _SECRET else None

    def _make_room(self, newest: str) -> None:
        cache_files.sweep_abandoned(self.path)
        entries = sorted(cache_files.engines(self.path), key=_age)
        size = sum(map(_size, entries))
        for entry in entries:
            if size <= LARGEST or entry == self._file(newest):
                continue
            size -= _size(entry)
            entry.unlink(missing_ok=True)


@contextmanager
def _locked(file: Path, what: str) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(file, flags, 0o600)
    try:
        acquire(descriptor, what)
        yield
    finally:
        os.close(descriptor)  # which lets go of the lock


def open_cache() -> Cache | None:
    """Return the user's cache; None where it cannot be used, which is logged."""
    try:
        return Cache(directory())
    except Unusable as error:
        LOG.warning("engines are not kept: %s", error)
        return None


def clear() -> str:
    """Remove the cache's files, and no others; return what that was, as half a sentence.

    Raises:
        ResourceError: `unusable_cache`, where the directory is not this user's alone, or none.
    """
    try:
        path = directory()
        if not os.path.lexists(path):
            return f"nothing is kept in {path}"
        check_private(path)
        kept = [
            *cache_files.engines(path),
            *cache_files.quarantined(path),
            *cache_files.onnxruntime_engines(path),
        ]
        size = sum(map(_size, kept))
        for file in (*kept, *cache_files.secret(path)):
            file.unlink(missing_ok=True)
        sweep_temporary(path)
    except (OSError, Unusable) as error:
        raise ResourceError(
            "unusable_cache", f"cannot clear {getattr(error, 'strerror', None) or error}"
        ) from error
    return f"removed {len(kept)} kept files, {size / 1e6:.1f} MB, from {path}"


def _age(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
