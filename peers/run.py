"""Runs ONNX files in one peer and writes the records that Pare writes: accuracy, predictions,
latency (docs/file-formats.md).

  build/peers/bin/python peers/run.py alexnet.onnx --engine openvino --data cifar-10-batches-bin \\
      --precision float32 --batch 1,64 --threads 2 --records peers.jsonl

--data is CIFAR-10 in its official binary layout. Times are those of this engine alone; to compare
engines use `pare bench MODEL --peers`, where they take turns on the same images in one run.
"""

import argparse
import datetime
import json
import math
import os
import platform
import subprocess
import sys

import numpy
import xxhash

import engines
import peer

SIDE = 32
ROUNDS_WARM = 3


def fail(text, code):
    print(f"peers/run.py: {text}", file=sys.stderr)
    sys.exit(code)


def xxh3(data):
    return xxhash.xxh3_128_hexdigest(data)


def read_cifar10(folder):
    """(images uint8 NCHW, labels int32, class names) of the test set."""
    path = os.path.join(folder, "test_batch.bin")
    record = 1 + 3 * SIDE * SIDE
    try:
        raw = numpy.fromfile(path, dtype=numpy.uint8)
        with open(os.path.join(folder, "batches.meta.txt"), encoding="utf-8") as names:
            classes = [line.strip() for line in names if line.strip()]
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", 1)
    if len(raw) == 0 or len(raw) % record != 0:
        fail(f"{path}: {len(raw)} bytes, expected whole records of {record}", 1)
    raw = raw.reshape([-1, record])
    labels = raw[:, 0].astype(numpy.int32)
    if len(classes) != 10 or labels.max() >= 10:
        fail(f"{folder}: {len(classes)} classes and label {labels.max()}, expected CIFAR-10", 1)
    return numpy.ascontiguousarray(raw[:, 1:]).reshape([-1, 3, SIDE, SIDE]), labels, classes


def context():
    processor, flags = platform.processor(), ""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                processor = value.strip()
            if key.strip() == "flags":
                flags = value
    have = set(flags.split())
    sets = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
            if name in have]
    here = os.path.dirname(os.path.abspath(__file__))
    try:
        commit = subprocess.run(["git", "-C", here, "rev-parse", "--short", "HEAD"], check=True,
                                capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {"processor": processor, "cores": os.cpu_count(),
            "instruction_sets": " ".join(sets) or "baseline",
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "version": "peers", "commit": commit,
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")}


def wilson(right, total, z=1.959963984540054):
    """Wilson's 95 % interval, in percent."""
    share = right / total
    centre = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 100 / (1 + z * z / total)
    return max(0.0, scale * (centre - half)), min(100.0, scale * (centre + half))


def accuracy(scores, labels, classes):
    predicted = scores.argmax(axis=1)
    right = predicted == labels
    # As Pare ranks: among equal scores the lowest class first.
    order = numpy.argsort(-scores, axis=1, kind="stable")[:, :5]
    top5 = int((order == labels[:, None]).any(axis=1).sum())
    low, high = wilson(int(right.sum()), len(labels))
    low5, high5 = wilson(top5, len(labels))
    fields = {"images": len(labels), "top1": 100 * float(right.mean()), "top1_low": low,
              "top1_high": high, "top5": 100 * top5 / len(labels), "top5_low": low5,
              "top5_high": high5, "classes": classes,
              "class_images": [int((labels == c).sum()) for c in range(len(classes))],
              "class_correct": [int(right[labels == c].sum()) for c in range(len(classes))]}
    return fields, [int(p) for p in predicted]


def time_batches(runner, batch, seconds):
    """Samples in microseconds over at least `seconds` and 20 runs."""
    samples = runner.time({"batch": batch, "runs": ROUNDS_WARM, "first": 0})["samples_us"]
    runs = max(20, math.ceil(seconds * 1e6 / numpy.median(samples)))
    return runner.time({"batch": batch, "runs": runs, "first": ROUNDS_WARM * batch})


def arguments():
    parser = argparse.ArgumentParser(description="One peer on ONNX files: accuracy and latency as "
                                                 "records.")
    parser.add_argument("models", nargs="+", metavar="MODEL.onnx")
    parser.add_argument("--engine", required=True, choices=sorted(engines.ENGINES))
    parser.add_argument("--data", required=True, help="CIFAR-10 in its binary layout")
    parser.add_argument("--precision", default="float32",
                        choices=["float32", "bfloat16", "int8"])
    parser.add_argument("--batch", default="1,64")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="timed, for each batch size")
    parser.add_argument("--rotation", type=int, default=256, help="different images in rotation")
    parser.add_argument("--records", required=True, metavar="FILE.jsonl")
    return parser.parse_args()


def records_of(path, options, data):
    """All records of one file; raises Refused."""
    images, labels, classes = data
    runner = peer.Peer()
    runner.images = images[:options.rotation]
    runner.before_bytes = peer.memory_bytes("VmRSS")
    runner.engine = engines.ENGINES[options.engine](path, options.precision, options.threads)
    with open(path, "rb") as file:
        identity = {"model": path, "model_hash": xxh3(file.read())}
    common = {**identity, "engine": options.engine, "precision": options.precision,
              "data": f"CIFAR-10 test, {len(labels):,} images"}
    batches = [int(b) for b in options.batch.split(",")]
    for batch in batches:
        settings = runner.engine.prepare(runner.batch_at(0, batch))
        timed = time_batches(runner, batch, options.seconds)
        p50, p90, p99 = (float(q) for q in numpy.quantile(timed["samples_us"], [.5, .9, .99]))
        yield "latency", {**common, "engine_version": runner.engine.version, "batch": batch,
                          "threads": options.threads, "runs": len(timed["samples_us"]),
                          "latency_us_p50": p50, "latency_us_p90": p90, "latency_us_p99": p99,
                          "images_per_s": 1e6 * batch / p50, "peak_bytes": timed["peak_bytes"],
                          "images": len(runner.images), "settings": settings}
    runner.images = images
    last = batches[-1]
    runner.engine.prepare(runner.batch_at(0, last))
    scores = numpy.array(runner.scores({"batch": last, "count": len(images)})["scores"])
    fields, predicted = accuracy(scores, labels, classes)
    yield "accuracy", {**common, **fields}
    yield "predictions", {**common, "data_hash": data_hash(images, labels), "classes": classes,
                          "labels": labels.tolist(), "predicted": predicted}


def data_hash(images, labels):
    """As MemoryDataset: the hash of the two hashes' texts, pixels and labels."""
    return xxh3((xxh3(images.tobytes()) + xxh3(labels.tobytes())).encode())


def main():
    options = arguments()
    data = read_cifar10(options.data)
    where = context()
    for path in options.models:
        try:
            for kind, fields in records_of(path, options, data):
                line = json.dumps({"kind": kind, "context": where, **fields}, ensure_ascii=False)
                with open(options.records, "a", encoding="utf-8") as file:
                    file.write(line + "\n")
                shown = {k: v for k, v in fields.items()
                         if k in ("batch", "latency_us_p50", "top1", "top5", "settings")}
                if kind != "predictions":
                    print(f"{path}: {options.engine} {options.precision} {kind} {shown}")
        except engines.Refused as refusal:
            fail(f"{path}: {refusal}", 1)
        except ModuleNotFoundError as missing:
            fail(f"{missing.name} is not installed: peers/setup installs it", 1)


if __name__ == "__main__":
    main()
