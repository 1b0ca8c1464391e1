"""The flags of `train-snn`."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from snn_runtime.flags import Further, Parser, Rule, number, whole_number
from snn_runtime.machine.cores import MOST
from snn_train import duration
from snn_train.choices import (
    BITS,
    DATA,
    LARGEST_WIDTH,
    MOST_LEVELS,
    OF_ANY_SIZE,
    OF_THE_ANN,
    OF_THE_FILE,
    RATE_LIMITS,
    ClassWeights,
    Optimiser,
    Precision,
    RecipeName,
    Regulariser,
    Surrogate,
    takes_size,
)
from snn_train.families import NETWORKS
from snn_train.flag_values import SHARE, limits

PROGRAM = "train-snn"

EXAMPLES = f"""examples:
  train-snn --data digits
      the whole way, ANN to T=1, on scikit-learn's scans, in about a minute
  train-snn --data imagefolder:photos --network vgg9 --width 0.5 --image-size 32x32
  train-snn --data cifar10 --network vgg16 --recipe iir
      the paper's own recipe: 300 epochs of the ANN, then 500 each at 5, 4, 3, 2, 1 timesteps
  train-snn --data imagenet:ILSVRC2012 --recipe iir --network vgg16
      pictures of 224x224, decoded while training
  train-snn --data imagefolder:photos --image-size 32x32 --budget 30m
      epochs and width by the measured speed of this machine, to end in half an hour
  train-snn --data digits --int-bits 4
      one more stage after T=1, trained through the quantiser: integers of 4 bits
  train-snn --data digits --levels 2 --spike-rate 0.1
      two thresholds a neuron, which sends 0, 1 or 2 spikes; the budget counts every one
  train-snn --data digits --from runs/digits/t1.pt --int-bits 6 --out runs/digits-int6
      that stage alone, from the T=1 network of an earlier run
  train-snn --data digits --from runs/digits/t1.pt --teacher runs/digits/ann.pt --out runs/longer
      T=1 is trained on, and still learns from the ANN it came from
  train-snn --data imagefolder:photos --from bundled
      the network that comes with snn-infer, taught the classes of your photographs
  train-snn --resume runs/digits
      go on where a run was stopped
  torchrun --nproc-per-node 2 --no-python train-snn --data cifar10
      in two processes, each with half of every batch and, where there are any, a GPU of its own

data: {", ".join(DATA)}"""

OF_A_BEGINNING = ("data", "out", "network", "recipe", "width", "hidden", "surrogate", "dropout",
                  "levels", "image_size", "fit", "timesteps", "epochs", "batch_size", "optimiser",
                  "weight_decay", "label_smoothing", "distillation", "cached_teacher", "augment",
                  "ema", "seed", "regulariser", "int_bits", "begin_with", "precision",
                  "class_weights", "fine_tune", "ann", "teacher", "budget",
                  "validation")  # fmt: skip
"""Flags that the checkpoint of a run has fixed when it goes on."""
OF_A_RECIPE = ("network", "width", "hidden", "surrogate", "dropout", "levels", "batch_size",
               "optimiser", "weight_decay", "label_smoothing", "distillation", "seed",
               "cached_teacher", "precision", "regulariser", "ema", "int_bits", "class_weights",
               "fine_tune", "validation")  # fmt: skip
"""Flags that are fields of a recipe; so are `REMEDIES`."""

RULES = (
    Rule(
        OF_A_BEGINNING,
        lambda args: args.resume is None,
        "cannot change a run that goes on with --resume",
    ),
    Rule(
        OF_THE_FILE,
        lambda args: not begins(args),
        "cannot change the network that --from begins with",
    ),
    Rule(
        ("image_size", "fit"),
        lambda args: takes_size(args.data),
        f"is for {' and '.join(OF_ANY_SIZE)}, other pictures have their own size",
    ),
    Rule(
        ("epochs",),
        lambda args: args.budget is None,
        "and --budget: choose one, a budget plans the epochs",
    ),
    Rule(
        ("learning_rate",),
        lambda args: not (begins(args) and args.spiking_learning_rate is not None),
        "and --spiking-learning-rate: choose one, all stages behind --from are spiking ones",
    ),
    Rule(
        ("fine_tune",), lambda args: begins(args) or args.ann, "is for what --from or --ann brings"
    ),
    Rule(("ann",), lambda args: not begins(args), "and --from: choose one"),
    Rule(
        ("no_compile",),
        lambda args: args.resume is not None and not args.compile,
        "is for --resume, without --compile",
    ),
    Rule(OF_THE_ANN, lambda args: not args.ann, "cannot change the network of --ann"),
)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: `usage`.
    """
    description = "Train an ANN, turn it into a spiking network, and lower its timesteps to 1."
    parser = Parser(PROGRAM, description, EXAMPLES, RULES)
    start_or_resume = parser.add_mutually_exclusive_group(required=True)
    start_or_resume.add_argument("--data", help="what to train on, see below")
    start_or_resume.add_argument("--resume", type=Path, metavar="DIR", help="run to go on with")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/<data>")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    _add_beginning(parser.add_argument_group("a trained network to begin with"))
    _add_network(parser.add_argument_group("network"))
    _add_training(parser.add_argument_group("training (defaults depend on the recipe)"))
    _add_budget(parser.add_argument_group("budget of spikes"))
    _add_integers(parser.add_argument_group("integers"))
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default auto)")
    threads = whole_number(1, MOST)
    machine.add_argument("--threads", type=threads, help="CPU threads (default: all it may use)")
    fastest = "default auto: bfloat16 where the processor or GPU computes in it, else float32"
    machine.add_argument("--precision", choices=("auto", *get_args(Precision)), help=fastest)
    part = "pictures computed at once, if a batch does not fit into memory (default: found out)"
    machine.add_argument("--micro-batch", type=whole_number(2), metavar="N", help=part)
    compiled = "torch.compile the steps; on a processor, convolve by events"
    machine.add_argument("--compile", action="store_true", help=compiled)
    plain = "no longer: for --resume of a run that began with --compile"
    machine.add_argument("--no-compile", action="store_true", help=plain)
    return parser.read(argv)


def begins(args: argparse.Namespace) -> bool:
    """Whether a run begins with another's network."""
    return args.begin_with is not None


def _add_beginning(group: Any) -> None:
    trained = "a t1.pt, a model.onnx, or bundled: trained on, with a new readout for other classes"
    group.add_argument("--from", dest="begin_with", type=Path, metavar="FILE", help=trained)
    ann = "an ann.pt, or a state dict of torchvision's vgg*_bn, resnet18, 34 or 50, as stage 0"
    group.add_argument("--ann", type=Path, metavar="FILE", help=ann)
    factor = number("above 0, up to 1", lambda value: 0 < value <= 1)
    tuned = "factor on the learning rate of all but the readout"
    group.add_argument("--fine-tune", type=factor, metavar="FACTOR", help=tuned)


def _add_network(group: Any) -> None:
    width = number(f"above 0, up to {LARGEST_WIDTH}", lambda value: 0 < value <= LARGEST_WIDTH)
    group.add_argument(
        "--network", choices=NETWORKS, help="default vgg9; digits vgg5, imagenet vgg16"
    )
    group.add_argument(
        "--recipe", choices=get_args(RecipeName), default="iir-bn", help="default iir-bn"
    )
    group.add_argument("--width", type=width, help="factor on channels (default 1)")
    hidden = "neurons in each of two dense layers; 0: none"
    group.add_argument("--hidden", type=whole_number(0, 65536), help=hidden)
    group.add_argument("--surrogate", choices=get_args(Surrogate))
    dropout = number("from 0, below 1", lambda value: 0 <= value < 1)
    group.add_argument("--dropout", type=dropout)
    levels = "thresholds of a neuron: the most spikes it sends at once (default 1)"
    group.add_argument("--levels", type=whole_number(1, MOST_LEVELS), metavar="K", help=levels)
    group.add_argument("--image-size", metavar="HxW", help="imagefolder, imagenet: e.g. 32x32")
    group.add_argument("--fit", choices=("crop", "stretch"), help="default crop")


def _add_training(group: Any) -> None:
    spiking = "of the spiking stages (default 1; iir 5,4,3,2,1)"
    group.add_argument("--timesteps", metavar="LIST", help=spiking)
    epochs = "the ANN's, then each stage's; the last one repeats, but for integers"
    group.add_argument("--epochs", metavar="LIST", help=epochs)
    budget = "in place of --epochs (and --width): end within this time, e.g. 30m, 3h, 1h30m"
    group.add_argument("--budget", type=duration.of_flag, metavar="TIME", help=budget)
    # Two, because normalisation needs more than one picture.
    group.add_argument("--batch-size", type=whole_number(2))
    group.add_argument("--optimiser", choices=get_args(Optimiser))
    positive = number("above 0", lambda value: 0 < value < math.inf)
    group.add_argument("--learning-rate", type=positive, help="at its peak")
    group.add_argument(
        "--spiking-learning-rate", type=positive, help="the same of the spiking stages"
    )
    decay = number("from 0", lambda value: 0 <= value < math.inf)
    group.add_argument("--weight-decay", type=decay)
    group.add_argument("--label-smoothing", type=SHARE)
    balanced = "balanced: rare classes count as much as others (default for imagefolder), or none"
    group.add_argument("--class-weights", choices=get_args(ClassWeights), help=balanced)
    group.add_argument(
        "--distillation", type=SHARE, help="share of the loss from the teacher, 0 to 1"
    )
    several = (
        "networks of other runs that teach every stage together, in place of the run's own ANN"
    )
    group.add_argument(
        "--teacher", type=Path, nargs="+", action=Further, metavar="FILE", help=several
    )
    once = "the teacher answers to each picture once a stage, as it is: saves a quarter of a step"
    group.add_argument("--cached-teacher", action="store_const", const=True, help=once)
    percentile = number("above 0, up to 100", lambda value: 0 < value <= 100)
    group.add_argument("--percentile", type=percentile, help="of the currents, first threshold")
    group.add_argument(
        "--augment", metavar="LIST", help="e.g. flip,shift=4,cutout=8; flip,resized; none; see docs"
    )
    decay = number("above 0, below 1", lambda value: 0 < value < 1)
    ema = "measure and keep a moving average of the weights, e.g. 0.999"
    group.add_argument("--ema", type=decay, metavar="DECAY", help=ema)
    group.add_argument("--largest-drop", type=SHARE, help="accuracy a stage may lose (0.1)")
    rates = "share of each layer's neurons that may fire (default 0.005,0.6)"
    group.add_argument("--rate-limits", type=limits, metavar="LOW,HIGH", help=rates)
    part = number("above 0, below 1", lambda value: 0 < value < 1)
    selects = "share of the training pictures that select the best epoch (default 0.1)"
    group.add_argument("--validation", type=part, metavar="SHARE", help=selects)
    group.add_argument("--seed", type=whole_number(0, 2**63 - 1))


def _add_budget(group: Any) -> None:
    low, high = RATE_LIMITS
    share = number(f"from {low} to {high}, a share of 1", lambda value: low <= value <= high)
    rate = "MAC-weighted share of spikes to end at, e.g. 0.08"
    group.add_argument("--spike-rate", type=share, metavar="R", help=rate)
    regularisers = get_args(Regulariser)
    group.add_argument(
        "--regulariser", choices=regularisers, help="what drives the rate there (default synaptic)"
    )


def _add_integers(group: Any) -> None:
    group.add_argument(
        "--int-bits",
        type=int,
        choices=BITS,
        help="train T=1 through the quantiser in a last stage, in integers of so many bits",
    )
