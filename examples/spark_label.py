"""Label a folder or a bucket on many machines with Spark, into Parquet.

    spark-submit spark_label.py s3://bucket/photos s3a://bucket/answers

Rows are those of `snn-infer --format json`. The same command goes on after a stop. Exit codes are
those of snn-infer, too, for all rows. Needs `pip install 'pyspark[sql]'`, Java 17, and s3fs or
gcsfs for buckets.
"""

import argparse
import json
import os
import pickle
import sys
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import from_json
from pyspark.sql.types import StringType

import snn_runtime as snn
from snn_runtime.command import run_command, say
from snn_runtime.errors import PARTIAL, InputError
from snn_runtime.infer import buckets
from snn_runtime.infer.records import records
from snn_runtime.model import read_model_file

BATCH = 64
"""Pictures that a worker labels at once."""
SCHEMA = """path string, path_b64 string, ok boolean,
    predictions array<struct<label: string, index: int, logit: double, probability: double>>,
    unsure boolean, unfamiliar boolean, warnings array<string>,
    error struct<code: string, message: string>"""


def labeller(path: str | None) -> Callable[[Any], Any]:
    """Return what a worker, one core, does with a batch: it makes a line of JSON of each source."""
    model = snn.load(path, threads=1)

    def label(pickled: Any) -> Any:
        rows = records(model, list(map(pickle.loads, pickled)), buckets.read)
        return np.array([*map(json.dumps, rows)], object)

    return label


def answered(spark: SparkSession, folder: str) -> DataFrame:
    """Return the rows that there are."""
    try:
        return spark.read.schema(SCHEMA).parquet(folder)
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        return spark.createDataFrame([], SCHEMA)


def main() -> int:
    parser = argparse.ArgumentParser(description="Label a folder or a bucket with Spark.")
    add = parser.add_argument
    add("place", help="a folder that all machines see, or an address that fsspec knows")
    add("answers", help="a folder of Parquet; pictures that have a row are left out")
    add("--model", type=os.path.abspath, help="model.onnx (default: the bundled one)")
    add("--slice", type=int, default=100_000, help="pictures that a stop costs (%(default)s)")
    args = parser.parse_args()

    read_model_file(args.model)  # refused here, not by each worker
    spark = SparkSession.builder.getOrCreate()
    named = answered(spark, args.answers).select("path", "path_b64").toLocalIterator()
    seen = {os.fsdecode(b64decode(code)) if code else path for path, code in named}
    todo = [source for source in buckets.find(args.place) if source.name not in seen]
    make = partial(labeller, args.model)
    label = predict_batch_udf(make, return_type=StringType(), batch_size=BATCH)
    left = 0
    for begin in range(0, len(todo), args.slice):
        part = [(pickle.dumps(source),) for source in todo[begin : begin + args.slice]]
        lines = spark.createDataFrame(part, "source binary").select(label("source").alias("line"))
        rows = lines.select(from_json("line", SCHEMA).alias("row")).select("row.*")
        try:
            rows.write.mode("append").parquet(args.answers)
        except Py4JJavaError:  # Spark has said why: a picture may kill every worker that takes it
            left += len(part)
    counts = dict(answered(spark, args.answers).groupBy("ok").count().collect())
    labelled, failed = counts.get(True, 0), counts.get(False, 0)
    say(f"spark_label: {labelled:,} labelled, {failed:,} failed, {left:,} left for another run")
    if not labelled:
        return InputError.exit_code
    return PARTIAL if failed or left else 0


if __name__ == "__main__":
    sys.exit(run_command("spark_label", main))
