"""A run with a budget of time in as many processes as torchrun starts; run by test_together.py.

torchrun … -m train.budget_together DIR     the run is in DIR/run, what a process saw in DIR/RANK

Every other process than the first is slower from the beginning; the first becomes slower later.
"""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from train import tiny
from train.budgets import Clock, Told, train

SECONDS = 100


def main() -> None:
    directory, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch, tiny.data())

        def slower(times: float) -> None:
            clock.steps = {name: seconds * times for name, seconds in clock.steps.items()}

        slower(1 + 0.5 * rank)
        monkeypatch.setattr(time, "monotonic", lambda: clock.now + 1000 * rank)
        begun, told = clock.now, Told(then=lambda now: slower(2.0) if now == 3 else None)
        run = train(directory / "run", told, budget=SECONDS)
        found = {
            "epochs": [stage.epochs for stage in run.recipe.stages],
            "trained": [[record.stage, record.epoch] for record in run.records],
            "used": clock.now - begun,
            "notes": told.notes,
        }
        (directory / str(rank)).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
