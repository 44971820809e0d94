"""One peer as a co-process of `pare bench --peers`: JSON lines in on stdin, answers out on stdout.

  {"op": "open", "engine": "openvino", "model": PATH, "precision": "float32", "threads": 2,
   "images": PATH, "shape": [3, 32, 32]}
                            images: uint8, NCHW, one after another  -> {"version": "2026.4.1"}
  {"op": "prepare", "batch": 64}                     -> {"settings": "latency, 2 threads"}
  {"op": "scores", "batch": 64, "count": 256}        -> {"scores": [[...], ...]}
  {"op": "time", "batch": 64, "runs": 5, "first": 0} -> {"samples_us": [...], "peak_bytes": 1}
                            and, of an engine on a GPU, "device_us": [...], without copies;
                            run i takes the `batch` images from first + i * batch on, around the end
  {"op": "values", "batch": 4, "first": 0, "into": PATH}  -> {"counts": [40, 9216, ...]}
                            every output of those images as float32, one after the other, in a file

A request that fails is answered {"error": "one line"}; the process ends with its input. Between
requests it is idle: worker threads that spin after a run are given time to go to sleep before the
answer is sent, so that only one engine is at work at a time.
"""

import json
import os
import sys
import time

import numpy

import engines

# ONNX Runtime's threads spin for some milliseconds after a run.
SECONDS_TO_SLEEP = 0.03
WARM_UP_RUNS = 2


def memory_bytes(field):
    """VmRSS (held now) or VmHWM (the most ever held) of this process."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


class Peer:
    def __init__(self):
        self.engine = None
        self.images = None
        self.before_bytes = 0

    def open(self, request):
        kind = engines.ENGINES.get(request["engine"])
        if kind is None:
            raise engines.Refused(f"no engine {request['engine']}")
        shape = request["shape"]
        raw = numpy.fromfile(request["images"], dtype=numpy.uint8)
        self.images = raw.reshape([-1, *shape])
        self.before_bytes = memory_bytes("VmRSS")
        self.engine = kind(request["model"], request["precision"], request["threads"])
        return {"version": self.engine.version}

    def batch_at(self, first, batch):
        count = len(self.images)
        first %= count
        if first + batch <= count:
            return self.images[first:first + batch]
        return self.images[numpy.arange(first, first + batch) % count]

    def prepare(self, request):
        return {"settings": self.engine.prepare(self.batch_at(0, request["batch"]))}

    def scores(self, request):
        rows = []
        for first in range(0, request["count"], request["batch"]):
            rows.extend(self.engine.run(self.batch_at(first, request["batch"])).tolist())
        return {"scores": rows[:request["count"]]}

    def values(self, request):
        if not hasattr(self.engine, "values"):
            raise engines.Refused("this engine shows no values between layers")
        outputs = self.engine.values(self.batch_at(request["first"], request["batch"]))
        with open(request["into"], "wb") as file:
            for output in outputs:
                file.write(numpy.ascontiguousarray(output, dtype=numpy.float32).tobytes())
        return {"counts": [output.size for output in outputs]}

    def time(self, request):
        batch = request["batch"]
        samples = []
        for i in range(-WARM_UP_RUNS, request["runs"]):
            images = self.batch_at(request["first"] + max(i, 0) * batch, batch)
            begin = time.perf_counter_ns()
            self.engine.run(images)
            if i >= 0:
                samples.append((time.perf_counter_ns() - begin) / 1000)
        answer = {"samples_us": samples,
                  "peak_bytes": max(0, memory_bytes("VmHWM") - self.before_bytes)}
        if hasattr(self.engine, "device_us"):
            answer["device_us"] = self.engine.device_us(request["runs"])
        return answer


def main():
    # Libraries may print on stdout: answers go to a copy of it, everything else to stderr.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    peer = Peer()
    operations = {"open": peer.open, "prepare": peer.prepare, "scores": peer.scores,
                  "time": peer.time, "values": peer.values}
    for line in sys.stdin:
        try:
            request = json.loads(line)
            answer = operations[request["op"]](request)
        except ModuleNotFoundError as error:
            answer = {"error": f"not installed: {error.name} (peers/setup installs it)"}
        except Exception as error:  # whatever an engine throws becomes one line
            text = " ".join(str(error).split())
            answer = {"error": text[:300] or type(error).__name__}
        time.sleep(SECONDS_TO_SLEEP)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
