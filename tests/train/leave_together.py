"""Teams that are joined, and left while an exception holds the network; run by test_together.py.

python -m train.leave_together PORT…     in each process of a team; they meet at one after another
"""

import os
import sys

import torch
from torch import nn

from snn_train.parallel import Machine, Team, distribute, joined
from snn_train.training import Stopped


def stop(team: Team) -> None:
    """Take a step, and stop as soon as all have agreed, which is what `StageTrainer` does."""
    network = distribute(nn.Linear(4, 4), team, unused_parameters=False)
    network(torch.ones(2, 4)).sum().backward()
    assert team.any(team.leads) == (True,)
    assert team.sum(torch.ones(2)).tolist() == [2, 2]
    raise Stopped


def main() -> int:
    for port in sys.argv[1:]:
        os.environ["MASTER_PORT"] = port
        try:
            with joined(Machine("cpu", threads=1)) as (team, _):
                stop(team)
        except Stopped:
            pass
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
