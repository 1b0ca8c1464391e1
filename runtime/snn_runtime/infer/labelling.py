"""What `snn-infer` does: find pictures, prepare and label them in threads, print answers."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, nullcontext
from functools import cache, partial

from snn_runtime.command import say
from snn_runtime.engines import LARGEST_BATCH
from snn_runtime.errors import InputError
from snn_runtime.image import Limits, Prepared, read_file
from snn_runtime.image.folder import Tally
from snn_runtime.image.intake import GLANCE
from snn_runtime.infer import PROGRAM, TOP_K
from snn_runtime.infer.printers import CsvPrinter, JsonPrinter, Printer, TextPrinter
from snn_runtime.infer.results import Results
from snn_runtime.infer.sources import Asked, Source, find
from snn_runtime.machine.cores import usable
from snn_runtime.model import Model, load

DECODERS = 2
"""Large pictures decoded at once: each may take 400 MB at the default --max-pixels."""
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
        if not args.inputs and args.files_from is None:
            return 0
    with nullcontext() if args.resume is None else closing(Results(args.resume)) as results:
        printer = _printer(args, model.engine)
        if results is not None:
            printer.out, printer.labelled = results.file, results.labelled
        printer.self_tested = model.self_tested or args.self_test
        with _Threads(1) as worker:
            # Signals are seen by the main thread alone, between two calls of C: so it only waits,
            # and looks again and again for one that came just before a wait began.
            work = worker.submit(_label_all, args, model, printer, results)
            while wait([work], GLANCE).not_done:
                pass
            work.result()
        return printer.end()


def _label_all(
    args: argparse.Namespace, model: Model, printer: Printer, results: Results | None
) -> None:
    """Prepare and label, each in threads of its own, one batch after the other."""
    limits = Limits(max_bytes=args.max_bytes, max_pixels=args.max_pixels, flags=True)
    asked = Asked(tuple(args.inputs), args.files_from, args.follow, args.shard, limits)

    def sources(tally: Tally) -> Iterator[Source | None]:
        found = find(asked, tally)
        return found if results is None else results.without_done(found)

    show = _progress(sources if asked.countable else None, printer)
    label = partial(_label, model, printer, top=args.top_k or TOP_K, show=show)
    prepare = partial(_prepare, model=model, limits=limits)
    with _Threads(1) as labeller, ExitStack() as stack:
        # Cores are counted only where a large picture comes.
        decoders = cache(lambda: stack.enter_context(_Threads(min(DECODERS, usable()))))
        labelled = labeller.submit(printer.flush)
        for batch in _batches(sources(printer.passed_over)):
            prepared = _prepare_all(decoders, prepare, batch)
            labelled.result()
            labelled = labeller.submit(label, batch, prepared)  # while the next batch is decoded
        labelled.result()


def _progress(
    sources: Callable[[Tally], Iterable[Source | None]] | None, printer: Printer
) -> Callable[[], None]:
    """Return what shows how far `printer` has come, where somebody looks at a terminal."""
    if not sys.stderr.isatty():
        return lambda: None
    from snn_runtime.infer.progress import Progress

    def count() -> int:
        assert sources is not None
        return sum(source is not None for source in sources(Tally()))

    progress = Progress(count if sources else None)
    before = printer.handled
    printer.clear = progress.clear
    return lambda: progress.show(printer.handled - before)


def _printer(args: argparse.Namespace, engine: str) -> Printer:
    if args.format == "json":
        return JsonPrinter(PROGRAM, engine, strict=args.strict)
    if args.format == "csv":
        return CsvPrinter(PROGRAM, engine, strict=args.strict)
    return TextPrinter(PROGRAM, engine, strict=args.strict, everything=args.top_k is not None)


def _batches(sources: Iterator[Source | None]) -> Iterator[list[Source]]:
    """Group: 1, 2, 4 … pictures, so that the first answer does not wait for a whole batch, and
    what there is where the next picture has not arrived yet."""
    size, batch = 1, list[Source]()
    for source in sources:
        if source is not None:
            batch.append(source)
        if batch and (source is None or len(batch) == size):
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


def _prepare(source: Source, model: Model, limits: Limits) -> Prepared | InputError:
    """Return the image of a source, or why there is none; the message leaves out its name."""
    if source.error is not None:
        return source.error
    try:
        if source.skipped:
            raise InputError("skipped", source.skipped)
        data = read_file(source.name, limits) if source.data is None else source.data
        image, warnings = model.prepare(data, limits=limits)
        return image, warnings + source.warnings
    except InputError as error:
        return error


def _label(
    model: Model,
    printer: Printer,
    batch: list[Source],
    prepared: list[Prepared | InputError],
    *,
    top: int,
    show: Callable[[], None],
) -> None:
    good = [each for each in prepared if not isinstance(each, InputError)]
    answers = iter(model.answers(good, top=top))
    printer.clear()
    for source, each in zip(batch, prepared, strict=True):
        if source.skipped:
            printer.skip(source.name, source.skipped)
        elif isinstance(each, InputError):
            printer.failure(source.name, each)
        else:
            printer.answer(source.name, next(answers))
    printer.flush()
    show()
