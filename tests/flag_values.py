"""Every flag of every command, and how their command lines are read."""

from importlib import import_module
from typing import Any

from pages import MAINS

VALUES = {
    "train-snn": {
        "data": "digits", "resume": "begun", "out": "elsewhere", "format": "json",
        "network": "vgg11", "recipe": "iir", "width": "0.2", "hidden": "8", "surrogate": "tanh",
        "dropout": "0.3", "levels": "2", "image_size": "9x9", "fit": "stretch", "timesteps": "3,1",
        "epochs": "7", "batch_size": "10", "optimiser": "sgd --learning-rate 0.1",
        "learning_rate": "0.01", "spiking_learning_rate": "0.02", "weight_decay": "0.3",
        "label_smoothing": "0.2", "distillation": "0.1", "percentile": "77",
        "augment": "cutout=2", "ema": "0.9", "largest_drop": "0.3", "seed": "3",
        "spike_rate": "0.2", "regulariser": "hoyer", "int_bits": "6", "begin_with": "t1.pt",
        "device": "cuda:7", "threads": "3", "precision": "bfloat16", "micro_batch": "5",
        "compile": "", "no_compile": "", "budget": "30m", "rate_limits": "0.001,0.7",
        "class_weights": "balanced", "fine_tune": "0.5", "ann": "ann.pt", "cached_teacher": "",
        "teacher": "ann.pt", "validation": "0.2",
    },
    "export-snn": {
        "weights": "float32", "int_bits": "4", "dense": "", "data": "digits",
        "threads": "3", "format": "json", "calibrate": "",
        "framework": "nir", "labels": "d,e,f",
        "image_size": "9x9", "mean": "0.3", "std": "0.3", "fit": "stretch",
        "module": "net.py:other", "dt": "0.01", "triton": "repository", "triton_name": "n",
        "triton_device": "cuda", "triton_batch": "3",
    },
    "snn-infer": {
        "model": "m.onnx", "backend": "onnxruntime", "device": "cuda:1", "precision": "fp16",
        "threads": "3", "top_k": "2", "format": "csv", "strict": "", "follow": "",
        "files_from": "names", "shard": "2/2", "resume": "answers.jsonl",
        "every": "2", "fps": "2", "camera_timeout": "3", "camera_retries": "1", "watch": "nowhere",
        "only_label": "", "threshold": "0.999", "crop": "0,0,99,99",
        "annotate": "shown", "explain": "why", "move_to": "sorted/{label}",
        "yes": "", "on_label": "cat -- true",
        "post": "http://127.0.0.1:9/",
        "max_pixels": "777", "max_bytes": "777", "self_test": "", "clear_cache": "",
    },
    "snn-bench": {
        "model": "m.onnx", "images": "photos", "topology": "resnet20", "rates": "7",
        "pooling": "average", "hidden": "8", "width": "0.3", "weight_bits": "4",
        "backends": "event", "threads": "2", "batch": "3", "against": "dnn", "rounds": "3",
        "duration": "9", "warm_up": "9", "energy": "", "no_memory": "", "format": "csv",
        "plot": "sweep.svg",
    },
    "snn-doctor": {"model": "m.onnx", "json": "", "output": "report.json", "timeout": "5"},
    "snn-serve": {
        "model": "m.onnx", "models": "folder", "backend": "onnxruntime", "device": "cuda:1",
        "precision": "fp16", "threads": "3", "host": "::1", "port": "9", "token_file": "token",
        "tls_cert": "cert.pem", "tls_key": "key.pem", "plain_http": "", "limit": "queue=99",
        "trusted_proxy": "10.0.0.1", "allowed_host": "board.example", "camera": "camera:0",
        "on_label": "cat", "post": "http://127.0.0.1:9/",
        "check": "", "probe": "",
    },
}  # fmt: skip
"""A value of every flag that is not its default."""

SYNTHETIC = {"rates", "pooling", "hidden", "width", "weight_bits"}
PARSERS = {**MAINS, "train-snn": "snn_train.flags"}


def parsed(line: str) -> Any:
    command, *words = line.split()
    return import_module(PARSERS[command]).parse_args(words)


def flag_of(name: str) -> str:
    """A flag by the name of its value."""
    return "--from" if name in ("framework", "begin_with") else f"--{name.replace('_', '-')}"
