"""Engines that are kept: only what is genuine is ever loaded, and nothing stops an answer."""

import errno
import fcntl
import os
import pwd
import resource
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpu import FakeGpu, golden
from graphs import example, pictures
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from snn_runtime.engines import cache, cache_files
from snn_runtime.engines.cache import Cache, clear, open_cache
from snn_runtime.engines.cache_files import MAGIC
from snn_runtime.engines.tensorrt import spec
from snn_runtime.engines.tensorrt.backend import TensorRtBackend
from snn_runtime.engines.tensorrt.device import Device
from snn_runtime.engines.tensorrt.library import find
from snn_runtime.engines.tensorrt.lowering import Form
from snn_runtime.errors import ResourceError
from snn_runtime.files import MARK
from snn_runtime.graph import SpikingGraph, reference
from snn_runtime.infer.cli import parse_args, run
from snn_runtime.machine.private import SETTING, Unusable, directory

KEY, OTHER = "a" * 64, "b" * 64
THEIRS = "TensorrtExecutionProvider_TRTKernel_graph_snn_123_0_0"
"""How ONNX Runtime names what its provider keeps."""
GRAPH = example()
IMAGES = pictures(GRAPH.image, 3)
LOGITS = reference.run(GRAPH, IMAGES).logits


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv(SETTING, str(tmp_path / "engines"))
    opened = Cache(tmp_path / "engines")
    opened.store(KEY, {"form": "int8"}, b"an engine")
    return opened


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeGpu:
    fake = FakeGpu(monkeypatch, tmp_path)
    fake.build_here()
    return fake


def backend() -> TensorRtBackend:
    return TensorRtBackend(GRAPH, golden=golden(GRAPH), precision="int8")


def file(opened: Cache, key: str = KEY) -> Path:
    return opened.path / f"{key}.engine"


def test_what_is_stored_is_loaded(kept: Cache) -> None:
    entry = Cache(kept.path).load(KEY)
    assert entry is not None and entry.payload == b"an engine" and entry.header["form"] == "int8"
    assert kept.load(OTHER) is None
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((kept.path / cache_files.SECRET).stat().st_mode) == 0o600


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 8
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def wrong_mac(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(MAGIC + bytes(32) + data[len(MAGIC) + 32 :])


def another_key(path: Path) -> None:
    """A genuine entry under a name that is not its own."""
    other = path.with_name(f"{OTHER}.engine")
    Cache(path.parent).store(OTHER, {"logits": [], "form": "int8"}, b"another engine")
    os.replace(other, path)


def link(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    os.replace(path, elsewhere)
    path.symlink_to(elsewhere)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def foreign(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, 12345, -1)


def engine_from_elsewhere(path: Path) -> None:
    """What somebody has, a plain TensorRT engine, put where ours are."""
    data = path.read_bytes()
    path.write_bytes(data[data.index(b"}", 40) :])


DAMAGES = [
    truncate,
    flip,
    empty,
    wrong_mac,
    another_key,
    link,
    pipe,
    foreign,
    engine_from_elsewhere,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_genuine_is_put_away(
    kept: Cache, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(file(kept))
    assert kept.load(KEY) is None and not os.path.lexists(file(kept))
    assert caplog.text.count("quarantined and built again") == 1
    assert len(list((kept.path / "quarantine").iterdir())) == 1
    kept.store(KEY, {}, b"new")
    entry = kept.load(KEY)
    assert entry is not None and entry.payload == b"new"


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_no_other_bytes_are_an_entry(data: bytes) -> None:
    opened = Cache.__new__(Cache)
    opened._secret = b"s" * 32
    for forged in (data, MAGIC + data, MAGIC + bytes(32) + data):
        assert opened._opened(KEY, forged) is None


def test_every_bit_counts(kept: Cache) -> None:
    genuine = file(kept).read_bytes()
    for position in range(len(genuine)):
        forged = bytearray(genuine)
        forged[position] ^= 1 << position % 8
        assert kept._opened(KEY, bytes(forged)) is None
        assert kept._opened(KEY, genuine[:position]) is None


class Kept(RuleBasedStateMachine):
    """Whatever befalls the directory, what is loaded under a key was last stored under it."""

    keys = st.sampled_from([KEY, OTHER, "c" * 64])

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.cache = Cache(Path(self.folder.name))
        self.stored: dict[str, bytes] = {}

    @rule(key=keys, payload=st.binary(max_size=9))
    def store(self, key: str, payload: bytes) -> None:
        self.cache.store(key, {"form": "int8"}, payload)
        self.stored[key] = payload

    @rule(key=keys, other=keys)
    def swap(self, key: str, other: str) -> None:
        if file(self.cache, key).exists():
            os.replace(file(self.cache, key), file(self.cache, other))

    @rule(key=keys, position=st.integers(0, 200), cut=st.booleans())
    def damage(self, key: str, position: int, cut: bool) -> None:
        if file(self.cache, key).exists():
            data = bytearray(file(self.cache, key).read_bytes())
            if data:
                data[position % len(data)] ^= 1
            file(self.cache, key).write_bytes(data[:position] if cut else data)

    @rule()
    def start_again(self) -> None:
        self.cache = Cache(Path(self.folder.name))

    @rule()
    def lose_the_secret(self) -> None:
        (Path(self.folder.name) / cache_files.SECRET).unlink(missing_ok=True)
        self.cache = Cache(Path(self.folder.name))

    @rule(key=keys)
    def load(self, key: str) -> None:
        entry = self.cache.load(key)
        assert entry is None or entry.payload == self.stored[key]

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


Kept.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestKept = Kept.TestCase


def test_entries_of_another_secret_are_void(kept: Cache) -> None:
    (kept.path / cache_files.SECRET).unlink()
    assert Cache(kept.path).load(KEY) is None


def test_a_build_keeps_nobody_from_opening_the_cache(
    kept: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire(descriptor: int, what: str) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # and waits for nobody

    monkeypatch.setattr(cache, "acquire", acquire)
    for digit in "0123456789abcdef":
        with kept.lock(digit * 64):
            assert Cache(kept.path).load(KEY) is not None
            (kept.path / cache_files.SECRET).rename(kept.path / "away")
            Cache(kept.path)  # where the secret is missing, too
            (kept.path / "away").rename(kept.path / cache_files.SECRET)


def test_the_secret_that_another_process_makes_meanwhile_is_taken(
    kept: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept.path / cache_files.SECRET).unlink()
    said = []

    def acquire(descriptor: int, what: str) -> None:
        said.append(what)
        monkeypatch.undo()
        Cache(kept.path).store(OTHER, {}, b"an engine")

    monkeypatch.setattr(cache, "acquire", acquire)
    assert Cache(kept.path).load(OTHER) is not None
    assert said == ["the engines' secret"]


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_secret_that_others_may_read_is_made_anew(
    kept: Cache, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    before = (kept.path / cache_files.SECRET).read_bytes()
    (kept.path / cache_files.SECRET).chmod(mode)
    assert Cache(kept.path).load(KEY) is None
    assert (kept.path / cache_files.SECRET).read_bytes() != before
    assert caplog.text.count("the engines' secret is made anew: others may read it") == 1


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_directories_others_may_write_to(kept: Cache, mode: int) -> None:
    kept.path.chmod(mode)
    with pytest.raises(Unusable, match="others may write to it: chmod 700 it"):
        Cache(kept.path)


def test_directories_that_are_links_files_or_not_ours(kept: Cache, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(kept.path)
    with pytest.raises(Unusable, match="is a link"):
        Cache(tmp_path / "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(Unusable):
        Cache(tmp_path / "file")
    with pytest.raises(Unusable):
        Cache(tmp_path / "file" / "below")
    if os.geteuid() == 0:
        os.chown(kept.path, 12345, -1)
        with pytest.raises(Unusable, match="belongs to user 12345"):
            Cache(kept.path)


def test_the_least_recently_used_goes_first(kept: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.store(OTHER, {}, b"another")
    os.utime(file(kept, OTHER), (1, 1))
    os.utime(file(kept), (2, 2))
    assert kept.load(OTHER) is not None  # used just now
    monkeypatch.setattr(cache, "LARGEST", file(kept).stat().st_size * 2)
    kept.store("c" * 64, {"form": "int8"}, b"a third")
    assert kept.load(KEY) is None
    assert kept.load(OTHER) is not None and kept.load("c" * 64) is not None


def test_what_is_put_away_does_not_pile_up(kept: Cache) -> None:
    for _ in range(cache.QUARANTINED + 3):
        kept.store(KEY, {}, b"engine")
        truncate(file(kept))
        assert kept.load(KEY) is None
    assert len(list((kept.path / "quarantine").iterdir())) == cache.QUARANTINED


def test_where_engines_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert directory() == Path("/x/iir-snn")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert directory() == Path("/h/.cache/iir-snn")


def test_a_user_without_a_home_keeps_no_engines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No engines in a folder named `~` below the one that the command runs in."""

    def nobody(number: int) -> pwd.struct_passwd:
        raise KeyError(f"uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in (SETTING, "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    said = f"~/.cache/iir-snn: this user has no home: set HOME, XDG_CACHE_HOME or {SETTING}"
    assert open_cache() is None and caplog.messages == [f"engines are not kept: {said}"]
    with pytest.raises(ResourceError, match=f"^cannot clear {said} "):
        clear()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(SETTING, str(tmp_path / "kept"))
    assert directory() == tmp_path / "kept"


def test_clear(kept: Cache) -> None:
    kept.store(OTHER, {}, bytes(10**6))
    truncate(file(kept))
    kept.load(KEY)
    other = (
        kept.path / cache_files.ONNXRUNTIME / f"{'0' * 16}-32" / "sums" / f"{THEIRS}_sm87.engine"
    )
    other.parent.mkdir(parents=True)
    other.write_bytes(bytes(10**6))
    (kept.path / f"{MARK}abc.tmp").touch()
    assert clear() == f"removed 3 kept files, 2.0 MB, from {kept.path}"
    left = {path.name for path in kept.path.rglob("*") if path.is_file()}
    assert left == {cache.LOCK}
    assert clear() == f"removed 0 kept files, 0.0 MB, from {kept.path}"
    kept.path.chmod(0o777)
    with pytest.raises(ResourceError, match="others may write"):
        clear()


MINE = [
    "secret",
    "my.engine",
    f"{KEY}.engine",  # the name, and not what is in it
    f"{OTHER}.engine.bak",
    "quarantine/keep.txt",
    f"quarantine/{KEY}",
    f"quarantine/deeper/{KEY}-1",
    ".notes.tmp",
    ".latest.pt.a1b2c3d4.tmp",
    "onnxruntime-tensorrt/keep.engine",
    f"onnxruntime-tensorrt/mine/sums/{THEIRS}_sm87.engine",
    f"onnxruntime-tensorrt/{'0' * 16}-32/notes/{THEIRS}_sm87.engine",
    "deeper/my.engine",
]
"""What somebody may keep in the folder that he names for the engines."""


def lay(folder: Path) -> dict[Path, str]:
    for name in MINE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"mine: {name}")
    return texts(folder)


def texts(folder: Path) -> dict[Path, str]:
    return {folder / name: (folder / name).read_text() for name in MINE if (folder / name).exists()}


def test_what_is_not_ours_is_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By clearing, by making room, by putting away, by making a secret."""
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o700)
    before = lay(folder)
    monkeypatch.setenv(SETTING, str(folder))
    monkeypatch.setattr(cache, "LARGEST", 1)
    monkeypatch.setattr(cache, "QUARANTINED", 1)
    assert clear() == f"removed 0 kept files, 0.0 MB, from {folder}"
    assert len(before) == len(MINE) and texts(folder) == before
    opened = Cache(folder)
    keys = [digit * 64 for digit in "cdef"]
    for key in keys[:2]:
        opened.store(key, {}, b"engine")
        truncate(file(opened, key))
        assert opened.load(key) is None
    for key in keys[2:]:
        opened.store(key, {}, b"engine")
    assert opened.load(keys[2]) is None and opened.load(keys[3]) is not None
    assert texts(folder) == before
    assert clear().startswith("removed 2 kept files")
    assert texts(folder) == before
    assert caplog.text.count("quarantined") == 2


def test_nothing_is_removed_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    folder.mkdir(mode=0o700)
    for name in (f"{KEY}-1", f"{THEIRS}_sm87.engine", f"{'0' * 16}-32/sums/{THEIRS}_sm87.engine"):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_text("mine")
    genuine = elsewhere / f"{KEY}.engine"
    genuine.write_bytes(MAGIC)
    for name in ("quarantine", "onnxruntime-tensorrt"):
        (folder / name).symlink_to(elsewhere)
    for name in (f"{KEY}.engine", f"{MARK}abc.tmp", cache_files.SECRET):
        (folder / name).symlink_to(genuine)
    monkeypatch.setenv(SETTING, str(folder))
    assert clear() == f"removed 0 kept files, 0.0 MB, from {folder}"
    with pytest.raises(Unusable, match="is not the engines' secret: move it elsewhere"):
        Cache(folder)
    (folder / cache_files.SECRET).unlink()
    opened = Cache(folder)
    assert opened.load(KEY) is None and "quarantined" not in caplog.text
    assert len([path for path in elsewhere.rglob("*") if path.is_file()]) == 4
    assert len([path for path in folder.iterdir() if path.is_symlink()]) == 4


@pytest.mark.parametrize("content", [b"", b"mine", bytes(range(32))])
def test_a_file_with_the_name_of_the_secret_stays(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o700)
    (folder / cache_files.SECRET).write_bytes(content)
    with pytest.raises(Unusable, match="move it elsewhere"):
        Cache(folder)
    assert (folder / cache_files.SECRET).read_bytes() == content


def test_clear_where_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, str(tmp_path / "none"))
    assert clear() == f"nothing is kept in {tmp_path / 'none'}"


def test_the_flag(kept: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parse_args(["--clear-cache"])) == 0
    said = capsys.readouterr()
    assert said.err.startswith("snn-infer: removed 1 kept files, 0.0 MB, from ") and not said.out


def test_a_kept_engine_is_used_again(gpu: FakeGpu) -> None:
    for _ in range(2):
        gpu.forget()
        np.testing.assert_array_equal(backend().run(IMAGES), LOGITS)
    assert len(gpu.built()) == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_repaired_once_and_never_deserialised(
    gpu: FakeGpu, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend()
    for entry in gpu.cache.glob("*.engine"):
        if entry.name != f"{OTHER}.engine":
            damage(entry)
    genuine: list[bytes] = []
    store = Cache.store

    def seen(self: Cache, key: str, header: dict[str, object], payload: bytes) -> None:
        genuine.append(payload)
        store(self, key, header, payload)

    monkeypatch.setattr(Cache, "store", seen)
    loaded = _deserialised(monkeypatch)
    np.testing.assert_array_equal(backend().run(IMAGES), LOGITS)
    assert len(gpu.built()) == 4 and set(loaded) == set(genuine)
    np.testing.assert_array_equal(backend().run(IMAGES), LOGITS)
    assert len(gpu.built()) == 4


def _deserialised(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    import tensorrt  # the fake, which is on the path only now

    seen: list[bytes] = []
    original = tensorrt.Runtime.deserialize_cuda_engine

    def deserialise(self: object, data: bytes) -> object:
        seen.append(data)
        return original(self, data)

    monkeypatch.setattr(tensorrt.Runtime, "deserialize_cuda_engine", deserialise)
    return seen


def test_a_genuine_engine_that_spikes_otherwise_is_built_again(
    gpu: FakeGpu, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as one whose driver was replaced under an unchanged version."""
    backend()
    opened = Cache(gpu.cache)
    for path in gpu.cache.glob("*.engine"):
        entry = opened.load(path.stem)
        assert entry is not None
        header = {name: value for name, value in entry.header.items() if name != "key"}
        wrong = entry.payload.replace(b'"wrong": false', b'"wrong": true')
        opened.store(path.stem, header, wrong)
    np.testing.assert_array_equal(backend().run(IMAGES), LOGITS)
    assert len(gpu.built()) == 4
    assert "built again: the golden images cause other" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"name": b"Thor"},
        {"capability": (9, 0)},
        {"processors": 8},
        {"memory": 2**34},
        {"uuid": bytes(16)},
        {"driver": 13000},
        {"version": 13000},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_device_is_another_engine(gpu: FakeGpu, change: dict[str, object]) -> None:
    backend()
    for name, value in change.items():
        setattr(gpu.cuda, name, value)
    np.testing.assert_array_equal(backend().run(IMAGES), LOGITS)
    assert len(gpu.built()) == 4 and len(list(gpu.cache.glob("*.engine"))) == 4


def test_another_tensorrt_is_another_engine(gpu: FakeGpu) -> None:
    backend()
    gpu.become(version="10.3.1")
    backend()
    assert len(gpu.built()) == 4


def test_the_key_is_of_everything(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    device, library = Device(0), find()

    def key(
        graph: SpikingGraph = GRAPH, hash_: str = "x", form: Form = "int8", **more: object
    ) -> str:
        asked: Any = {"debug": False, **more}
        piece = spec.EngineSpec.of(graph, hash_, library, device, form, **asked)
        return piece.key

    keys = {
        key(),
        key(hash_="y"),
        key(form="fp16"),
        key(debug=True),
        key(choice="int8,fp16"),
        key(replace(GRAPH, labels=("dog", "ship", "Straße"))),
        key(example(exact=False)),
    }
    for name, value in (("LARGEST_BATCH", 4), ("USUAL_BATCH", 2), ("LOWERING", 99)):
        with monkeypatch.context() as patch:
            patch.setattr(spec, name, value)
            keys.add(key())
    assert len(keys) == 10 and key() in keys


def test_without_a_cache_it_works_and_says_so_once(
    gpu: FakeGpu,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(SETTING, str(tmp_path / "file" / "below"))
    engine = backend()
    np.testing.assert_array_equal(engine.run(IMAGES), LOGITS)
    engine.spikes(IMAGES)
    assert caplog.text.count("engines are not kept") == 1
    assert len(gpu.built()) == 3  # with nothing kept, the debug engine is built when asked for


def test_a_read_only_cache(
    gpu: FakeGpu,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = tmp_path / "mounted"
    place.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "ro,mode=0700,size=1m", "none", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setenv(SETTING, str(place))
        np.testing.assert_array_equal(backend().run(IMAGES), LOGITS)
        assert caplog.text.count("Read-only file system") == 1
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_cache_that_has_become_read_only(kept: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # a superuser is told so by mounts alone
    with pytest.raises(Unusable, match="engines: cannot be written"):
        Cache(kept.path)


def no_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def full(name: Any, flags: int, *rest: Any, **more: Any) -> int:
        if Path(name) == path:
            raise OSError(errno.ENOSPC, "No space left on device", name)
        return real(name, flags, *rest, **more)

    monkeypatch.setattr(os, "open", full)


LOCKS: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "No space left on device": no_room,
    "Too many levels of symbolic links": lambda path, _: path.symlink_to("elsewhere"),
    "Is a directory": lambda path, _: path.mkdir(),
}


@pytest.mark.parametrize("reason", LOCKS)
def test_a_lock_that_cannot_be_taken(
    kept: Cache, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is kept, and it is said; the answer comes all the same."""
    LOCKS[reason](kept.path / "lock-b", monkeypatch)
    with kept.lock(OTHER):
        kept.store(OTHER, {}, b"another")
    assert caplog.text.count(f"engines are not kept: {kept.path / 'lock-b'}: {reason}") == 1
    assert kept.load(OTHER) is None and kept.load(KEY) is not None


def test_an_error_behind_a_lock_is_no_matter_of_the_lock(kept: Cache) -> None:
    with pytest.raises(OSError, match="of the engine"), kept.lock(KEY):
        raise OSError("of the engine")


def test_an_engine_is_built_without_its_lock(
    gpu: FakeGpu, caplog: pytest.LogCaptureFixture
) -> None:
    Cache(gpu.cache)
    for digit in "0123456789abcdef":
        (gpu.cache / f"lock-{digit}").mkdir()
    np.testing.assert_array_equal(backend().run(IMAGES), LOGITS)
    assert caplog.text.count("engines are not kept") == 1
    assert not list(gpu.cache.glob("*.engine"))


def test_what_killed_writers_left_is_removed(kept: Cache) -> None:
    """When the cache is opened and when room is made; what is younger than an hour is written."""
    left, written, other = (kept.path / name for name in (f"{MARK}a.tmp", f"{MARK}b.tmp", "c.tmp"))
    written.touch()
    for way in (lambda: Cache(kept.path), lambda: kept.store(OTHER, {}, b"another")):
        for file_ in (left, other):
            file_.touch()
            os.utime(file_, (time.time() - 3700,) * 2)
        way()
        assert (left.exists(), written.exists(), other.exists()) == (False, True, True)


def test_a_full_disk(kept: Cache, caplog: pytest.LogCaptureFixture) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        kept.store(OTHER, {}, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caplog.text.count("engines are not kept") == 1
    assert kept.load(OTHER) is None and not list(kept.path.glob(".*"))
    assert kept.load(KEY) is not None


def test_one_at_a_time(kept: Cache) -> None:
    program = (
        "import sys, time; from pathlib import Path; from snn_runtime.engines.cache import Cache\n"
        "cache, log = Cache(Path(sys.argv[1])), Path(sys.argv[1]) / 'log'\n"
        "with cache.lock('a'):\n"
        "    before = log.read_text() if log.exists() else ''\n"
        "    time.sleep(0.05)\n"
        "    log.write_text(before + 'x')\n"
    )
    crowd = [
        subprocess.Popen([sys.executable, "-c", program, str(kept.path)], stderr=subprocess.DEVNULL)
        for _ in range(4)
    ]
    assert [process.wait(60) for process in crowd] == [0] * 4
    assert (kept.path / "log").read_text() == "xxxx"
