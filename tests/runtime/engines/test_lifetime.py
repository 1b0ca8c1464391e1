"""Engines copied, pickled, and left behind by forks: every one answers, or says why not."""

import copy
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import example, pictures

import snn_runtime
from snn_runtime.engines import Backend
from snn_runtime.engines.choice import BackendName
from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.event.library import LIBRARY
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.graph import reference
from snn_runtime.model import Model, load
from snn_runtime.model_file import write

GRAPH = example()
IMAGES = pictures(GRAPH.image, 9)
EXPECTED = reference.run(GRAPH, IMAGES)

needs_engine = pytest.mark.skipif(not LIBRARY.is_file(), reason="no compiler when this was built")
BACKENDS = [
    pytest.param(partial(EventBackend, GRAPH, threads=3), id="event", marks=needs_engine),
    pytest.param(partial(OrtBackend, GRAPH, threads=3), id="onnxruntime"),
    pytest.param(partial(OrtBackend, GRAPH, form="float", optimisation="basic"), id="float"),
]
NAMES = [pytest.param("event", marks=needs_engine), "onnxruntime"]


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


WAYS = [copy.copy, copy.deepcopy, pickled]


def assert_right(backend: Backend) -> None:
    np.testing.assert_array_equal(backend.run(IMAGES), EXPECTED.logits)
    for name, bits in backend.spikes(IMAGES).items():
        np.testing.assert_array_equal(bits, EXPECTED.spikes[name], err_msg=name)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", BACKENDS)
def test_a_copy_outlives_the_first(make: Callable[[], Backend], way: Callable[[Any], Any]) -> None:
    first = make()
    assert_right(first)
    again = way(first)
    details, gone = first.details, weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    assert_right(again)
    assert again.details == details


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_a_copied_model(name: BackendName, way: Callable[[Any], Any], tmp_path: Path) -> None:
    write(GRAPH, tmp_path / "model.onnx")
    model = load(tmp_path / "model.onnx", backend=name, threads=2)
    again = way(model)
    engine = model.engine
    del model
    gc.collect()
    np.testing.assert_array_equal(again.logits(IMAGES), EXPECTED.logits)
    again.self_test()
    assert again.engine == engine
    assert again.graph.digest() == GRAPH.digest()


@needs_engine
def test_a_pickle_holds_what_was_asked_for_and_no_address() -> None:
    """Another machine has other cores and another instruction set, and other memory anyway."""
    make, arguments = EventBackend(GRAPH).__reduce__()
    assert isinstance(make, partial)
    assert make.keywords == {"threads": None, "instruction_set": None}
    assert arguments == (GRAPH,)


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
@pytest.mark.parametrize("name", NAMES)
def test_processes_that_are_handed_a_model(name: BackendName, method: str, tmp_path: Path) -> None:
    write(GRAPH, tmp_path / "model.onnx")
    model = load(tmp_path / "model.onnx", backend=name, threads=2)
    with multiprocessing.get_context(method).Pool(1) as pool:
        answer = pool.apply_async(model.logits, (IMAGES,)).get(60)
    np.testing.assert_array_equal(answer, EXPECTED.logits)


FORKS = """
import gc, os, signal, sys, threading, warnings
import numpy as np
from graphs import example, pictures
from snn_runtime.graph import reference
from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.onnxruntime.backend import OrtBackend

def answers():
    assert (engine.run(images) == expected).all()

def watches():
    assert len(engine.spikes(images)) == 5

def lets_go():
    global engine
    del engine
    gc.collect()

def answers_and_lets_go():
    answers()
    lets_go()

def only_ends():
    pass

def in_a_grandchild():
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
    answers_and_lets_go()

def work():
    while not stop.wait(1e-3):
        mine.run(images)

warnings.simplefilter("ignore")
graph = example()
images = pictures(graph.image, 9)
expected = reference.run(graph, images).logits
mine = engine = {make}(graph, threads=3)
engine.run(images)
engine.spikes(images)
stop = threading.Event()
others = [threading.Thread(target=work) for _ in range(2)]
for other in others:
    other.start()
wrong = []
for body in (answers, watches, lets_go, answers_and_lets_go, only_ends, in_a_grandchild):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        del mine
        body()
        sys.exit(0)
    if os.waitpid(child, 0)[1] != 0:
        wrong.append(body.__name__)
stop.set()
for other in others:
    other.join()
answers()
sys.exit(", ".join(wrong) or None)
"""

COLLECTED = """
import gc, os, signal, sys, warnings

def collects():
    signal.alarm(20)
    gc.collect()

os.register_at_fork(after_in_child=collects)  # before what is imported later comes to its turn
from graphs import example, pictures
from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.onnxruntime.backend import OrtBackend

warnings.simplefilter("ignore")
graph = example()
engine = {make}(graph, threads=3)
engine.run(pictures(graph.image, 9))
engine.itself = engine
del engine  # in a circle, so that only a collection finds it
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


OPENED_MEANWHILE = """
import gc, os, signal, sys, threading, warnings, weakref
from graphs import example, pictures
from snn_runtime.engines import lifetime
from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.onnxruntime.backend import OrtBackend

class Slow(weakref.WeakSet):
    def __iter__(self):
        for backend in super().__iter__():
            under_way.set()
            added.wait(0.5)
            yield backend

def opens():
    under_way.wait()
    engines.append({make}(graph, threads=1))
    added.set()

warnings.simplefilter("ignore")
under_way, added = threading.Event(), threading.Event()
graph = example()
engines = [{make}(graph, threads=2), {make}(graph, threads=2)]
lifetime._alive = Slow(engines)
other = threading.Thread(target=opens)
other.start()
child = os.fork()
if child == 0:
    signal.alarm(20)
    engines[0].run(pictures(graph.image, 9))
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
other.join()
assert added.is_set() and not lifetime._held
"""

OPENING = """
import os, signal, sys, threading, time, warnings
from graphs import example, pictures
from snn_runtime.engines.event import backend as event
from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.onnxruntime import backend as onnxruntime
from snn_runtime.engines.onnxruntime.backend import OrtBackend

class Slow:
    def __init__(self, real):
        self.real = real
    def __call__(self, *arguments):
        opening.set()
        time.sleep(0.5)
        opened.append(os.getpid())
        return self.real(*arguments)

def answers():
    engine.run(images)

def together(count):
    threads = [threading.Thread(target=answers) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads

warnings.simplefilter("ignore")
opening, opened = threading.Event(), []
event.lower, onnxruntime.Integer = Slow(event.lower), Slow(onnxruntime.Integer)
graph = example()
images = pictures(graph.image, 9)
engine = {make}(graph, threads=2)
engine._forked()  # as if this were a child
opened.clear()
opening.clear()
threads = together(1)
opening.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    opened.clear()
    for thread in together(4):
        thread.join()
    os._exit(0 if opened == [os.getpid()] else 1)
threads += together(3)
assert os.waitpid(child, 0)[1] == 0
for thread in threads:
    thread.join()
assert opened == [os.getpid()]
"""


@pytest.mark.parametrize("make", [pytest.param("EventBackend", marks=needs_engine), "OrtBackend"])
@pytest.mark.parametrize(
    "program",
    [FORKS, COLLECTED, OPENED_MEANWHILE, OPENING],
    ids=["used", "collected", "opened meanwhile", "opening"],
)
def test_a_forked_process_answers_and_ends(program: str, make: str) -> None:
    """While two other threads are inside the engine, or when nobody holds it any more, or while
    another thread opens one: of each there is one, and the child ends as every program does."""
    tests = Path(__file__).parents[2]
    path = f"{tests}:{Path(snn_runtime.__file__).parents[1]}"
    done = subprocess.run(
        [sys.executable, "-c", program.format(make=make)],
        env={"PYTHONPATH": path, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("make", BACKENDS)
def test_threads_that_share_one(make: Callable[[], Backend]) -> None:
    shared = make()

    def call(number: int) -> None:
        if number % 5 == 0:
            assert_right(shared)
            return
        part = slice(number % 6, number % 6 + 1 + number % 3)
        np.testing.assert_array_equal(shared.run(IMAGES[part]), EXPECTED.logits[part])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(60)))


def test_a_model_is_what_is_pickled_and_nothing_else(tmp_path: Path) -> None:
    write(GRAPH, tmp_path / "model.onnx")
    model = load(tmp_path / "model.onnx", backend="onnxruntime")
    fresh = pickle.dumps(model)
    assert isinstance(model, Model)
    model.self_test()  # which opens a second session
    assert pickle.dumps(model) == fresh
