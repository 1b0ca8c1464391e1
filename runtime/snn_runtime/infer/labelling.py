"""What `snn-infer` does: find pictures, prepare and label them in threads, print answers."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, nullcontext
from functools import cache, partial

from snn_runtime.answer import Answer
from snn_runtime.command import say
from snn_runtime.engines import LARGEST_BATCH
from snn_runtime.errors import InputError, SnnError
from snn_runtime.image import Limits, Prepared, read_file
from snn_runtime.image import prepare as fitted
from snn_runtime.image.folder import Tally
from snn_runtime.image.intake import GLANCE
from snn_runtime.infer import PROGRAM, TOP_K
from snn_runtime.infer.actions import Action, actions
from snn_runtime.infer.printers import PRINTERS, Printer
from snn_runtime.infer.results import Results, named
from snn_runtime.infer.sources import Asked, Source, find
from snn_runtime.machine.cores import usable
from snn_runtime.model import Model, load

DECODERS = 2
"""Large pictures decoded at once: each may take 400 MB at the default --max-pixels."""
HELD = 1 << 25
"""Bytes of a batch of pictures that are no files: one of a film in full size has 6 MB."""
LARGE = 1 << 15
"""Bytes of a file from which decoding takes longer than handing it to another thread."""


def run(args: argparse.Namespace) -> int:
    """Do what the command line says and return the exit code."""
    model = load(
        args.model,
        backend=args.backend,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
    )
    if args.self_test:
        if not model.self_tested:
            model.self_test()
        say(f"{PROGRAM}: self-test passed ({model.engine})")
        if not args.pictures:
            return 0
    with ExitStack() as stack:
        results = None if args.resume is None else Results(args.resume, named(model.graph))
        stack.enter_context(nullcontext() if results is None else closing(results))
        form = "label" if args.only_label else args.format
        printer = PRINTERS[form](
            model.engine,
            self_tested=model.self_tested or args.self_test,
            strict=args.strict,
            everything=args.top_k is not None,
            results=results,
        )
        asked = list[Action]()
        if {"annotate", "explain", "move_to", "on_label"} & args.given.keys():
            asked += actions(args, model, _limits(args), stack)
        with _Threads(1) as worker:
            # Signals are seen by the main thread alone, between two calls of C: so it only waits,
            # and looks again and again for one that came just before a wait began.
            work = worker.submit(_label_all, args, model, printer, results, asked)
            while wait([work], GLANCE).not_done:
                pass
            work.result()
        if args.post is not None:
            from snn_runtime.infer.posting import lost

            printer.left_undone += lost(asked)
        return printer.end()


def _limits(args: argparse.Namespace) -> Limits:
    return Limits(max_bytes=args.max_bytes, max_pixels=args.max_pixels, flags=True)


def _label_all(
    args: argparse.Namespace,
    model: Model,
    printer: Printer,
    results: Results | None,
    actions: Sequence[Action],
) -> None:
    """Prepare and label, each in threads of its own, one batch after the other."""
    limits = _limits(args)
    asked = Asked(
        inputs=tuple(args.inputs),
        files_from=args.files_from,
        watch=args.watch,
        follow=args.follow,
        fps=args.fps,
        every=args.every,
        camera_timeout=args.camera_timeout,
        camera_retries=args.camera_retries,
        shard=args.shard,
        moves=args.move_to is not None,
        limits=limits,
    )

    def sources(tally: Tally, films: bool = True) -> Iterator[Source | None]:
        found = find(asked, tally, films=films)
        return found if results is None else results.without_done(found)

    show = _no_progress if asked.watch else _progress(sources if asked.countable else None, printer)
    answers = partial(model.answers, top=args.top_k or TOP_K, threshold=args.threshold)
    label = partial(_label, answers, printer, actions=actions, show=show)
    image = model.graph.image
    look = partial(fitted, height=image.height, width=image.width, fit=image.fit)
    take = partial(look, limits=limits, region=args.crop)
    read = partial(read_file, limits=limits)
    with _Threads(1) as labeller, ExitStack() as stack:
        # Cores are counted only where a large picture comes.
        decoders = cache(lambda: stack.enter_context(_Threads(min(DECODERS, usable()))))
        labelled = labeller.submit(printer.flush)
        for batch in _batches(sources(printer.passed_over)):
            prepared = _prepare_all(decoders, lambda each: each.prepared(take, read), batch)
            labelled.result()
            labelled = labeller.submit(label, batch, prepared)  # while the next batch is decoded
        labelled.result()


def _no_progress() -> None:
    """Nobody looks, or there is no end to come nearer to."""


def _progress(
    sources: Callable[[Tally, bool], Iterable[Source | None]] | None, printer: Printer
) -> Callable[[], None]:
    """Return what shows how far `printer` has come, where somebody looks at a terminal."""
    if not sys.stderr.isatty():
        return _no_progress
    from snn_runtime.infer.progress import Progress

    def count() -> int:
        assert sources is not None
        return sum(source is not None for source in sources(Tally(), False))

    progress = Progress(count if sources else None)
    before = printer.handled
    printer.clear = progress.clear
    return lambda: progress.show(printer.handled - before)


def _batches(sources: Iterator[Source | None]) -> Iterator[list[Source]]:
    """Group: 1, 2, 4 … pictures, so that the first answer does not wait for a whole batch, and
    what there is where the next picture has not arrived yet, or much memory is held."""
    size, batch = 1, list[Source]()
    for source in sources:
        if source is not None:
            batch.append(source)
        held = sum(len(each.data or b"") for each in batch)
        if batch and (source is None or len(batch) == size or held > HELD):
            yield batch
            size, batch = min(2 * size, LARGEST_BATCH), []
    if batch:
        yield batch


class _Threads(ThreadPoolExecutor):
    """Threads that nobody waits for; none starts before there is work for it."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=False, cancel_futures=True)


def _prepare_all(
    pool: Callable[[], ThreadPoolExecutor],
    prepare: Callable[[Source], Prepared | InputError],
    batch: list[Source],
) -> list[Prepared | InputError]:
    """Prepare large pictures in threads, and here meanwhile all others.

    Threads that decode small pictures mostly wait for each other: Python runs one at a time.
    """
    large = [i for i, source in enumerate(batch) if len(batch) > 1 and _is_large(source)]
    begun = {i: pool().submit(prepare, batch[i]) for i in large}
    done = {i: prepare(source) for i, source in enumerate(batch) if i not in begun}
    return [done[i] if i in done else begun[i].result() for i in range(len(batch))]


def _is_large(source: Source) -> bool:
    if source.data is not None:
        return len(source.data) >= LARGE
    try:
        return os.stat(source.name).st_size >= LARGE
    except (OSError, ValueError):  # whoever reads it says what is wrong with it
        return False


def _label(
    answers: Callable[[Sequence[Prepared]], list[Answer]],
    printer: Printer,
    batch: list[Source],
    prepared: list[Prepared | InputError],
    *,
    actions: Sequence[Action],
    show: Callable[[], None],
) -> None:
    good = [each for each in prepared if not isinstance(each, InputError)]
    labelled = iter(answers(good))
    printer.clear()
    for source, each in zip(batch, prepared, strict=True):
        if source.skipped:
            printer.skip(source.name, source.skipped)
        elif isinstance(each, InputError):
            printer.failure(source.name, each)
        else:
            _hand_on(source, next(labelled), printer, actions)
    printer.flush()
    show()


def _hand_on(source: Source, answer: Answer, printer: Printer, actions: Sequence[Action]) -> None:
    """Print an answer, and do what is asked where it is sure; a command then sees it printed."""
    if not printer.answer(source.name, answer) or not actions:
        return
    printer.flush()
    for act in actions:
        try:
            if said := act(source, answer):
                printer.done(said)
        except SnnError as error:
            printer.undone(source.name, error)
