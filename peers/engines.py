"""The peers: each opens an ONNX file, is prepared for a batch size, and answers batches of images.

An engine is used at its best setting for the precision (settings() says which): ONNX Runtime runs
its operators one after another on as many threads as were asked for, with every graph optimisation;
OpenVINO is compiled for latency and, where several images can be handed out, also for throughput
with a stream a thread, and the faster is kept; its float32 is really float32. PyTorch runs
channels-last under inference_mode, compiled if that works here and is faster; on a GPU eager, as a
CUDA graph or compiled with max-autotune, whichever is fastest.
"""

import statistics
import time

import numpy


class Refused(Exception):
    """The engine cannot run this model in this precision; the text says why."""


def median_seconds(run, images, runs=5):
    run(images)
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def fastest(candidates, images):
    """Of [(settings, run)] the one with the least median time."""
    if len(candidates) == 1:
        return candidates[0]
    return min(candidates, key=lambda candidate: median_seconds(candidate[1], images))


class OnnxRuntime:
    name = "onnxruntime"

    def __init__(self, path, precision, threads):
        if precision not in ("float32", "int8"):
            raise Refused(f"ONNX Runtime has no {precision} convolutions and products on processors")
        import onnxruntime

        self.module = onnxruntime
        self.version = onnxruntime.__version__
        self.path = path
        self.threads = threads
        # One session for all batch sizes: the weights are held once.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.output = [self.session.get_outputs()[0].name]

    def prepare(self, images):
        self.run(images)
        return f"sequential, {self.threads} intra-op threads, every optimisation"

    def run(self, images):
        return self.session.run(self.output, {self.input: images})[0]

    def values(self, images):
        return self.session.run(None, {self.input: images})


class OpenVino:
    name = "openvino"

    def __init__(self, path, precision, threads):
        import openvino

        self.module = openvino
        self.version = openvino.__version__.split("-")[0]
        self.threads = threads
        self.core = openvino.Core()
        if precision not in ("float32", "bfloat16", "int8"):
            raise Refused(f"OpenVINO computes in float32, bfloat16 or int8, not in {precision}")
        capabilities = self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bfloat16" and "BF16" not in capabilities:
            raise Refused("OpenVINO has no bfloat16 on this processor")
        self.path = path
        # What is not integer stays float32 in the float32 and int8 rows.
        self.hint = "bf16" if precision == "bfloat16" else "f32"
        self.run = None
        self.shows = None  # for values(): images, request, outputs

    def compiled(self, batch, hint, streams):
        model = self.core.read_model(self.path)
        shape = model.input(0).partial_shape
        shape[0] = batch
        model.reshape(shape)
        config = {
            "PERFORMANCE_HINT": hint,
            "INFERENCE_NUM_THREADS": str(self.threads),
            "INFERENCE_PRECISION_HINT": self.hint,
        }
        if streams > 1:
            config["NUM_STREAMS"] = str(streams)
        return self.core.compile_model(model, "CPU", config)

    def latency(self, batch):
        request = self.compiled(batch, "LATENCY", 1).create_infer_request()

        def run(images):
            return request.infer([images], share_inputs=True)[0]

        return ("latency", run)

    def values(self, images):
        if self.shows is None or self.shows[0] != len(images):
            model = self.compiled(len(images), "LATENCY", 1)
            self.shows = (len(images), model.create_infer_request(), len(model.outputs))
        _, request, outputs = self.shows
        request.infer([images], share_inputs=True)
        return [request.get_output_tensor(i).data for i in range(outputs)]

    def throughput(self, batch):
        part = batch // self.threads
        model = self.compiled(part, "THROUGHPUT", self.threads)
        requests = [model.create_infer_request() for _ in range(self.threads)]

        def run(images):
            for i, request in enumerate(requests):
                request.start_async([images[i * part:(i + 1) * part]], share_inputs=True)
            for request in requests:
                request.wait()
            return numpy.concatenate(
                [request.get_output_tensor(0).data for request in requests])

        return (f"throughput, {self.threads} streams of {part} images", run)

    def prepare(self, images):
        batch = len(images)
        candidates = [self.latency(batch)]
        if self.threads > 1 and batch % self.threads == 0:
            candidates.append(self.throughput(batch))
        settings, self.run = fastest(candidates, images)
        return f"{settings}, {self.threads} threads, float operations in {self.hint}"


class PyTorch:
    name = "pytorch"

    def __init__(self, path, precision, threads):
        if precision not in ("float32", "bfloat16"):
            raise Refused(f"PyTorch runs no {precision} ONNX file")
        import torch

        import nets

        self.torch = torch
        self.version = torch.__version__.split("+")[0]
        self.threads = threads
        torch.set_num_threads(threads)
        self.model = nets.from_onnx(path).eval().to(memory_format=torch.channels_last)
        self.autocast = precision == "bfloat16"
        self.run = None

    def runner(self, model):
        torch = self.torch

        def run(images):
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16,
                                                        enabled=self.autocast):
                return model(torch.from_numpy(images)).float().numpy()

        return run

    def prepare(self, images):
        candidates = [("eager", self.runner(self.model))]
        try:
            compiled = self.runner(self.torch.compile(self.model))
            compiled(images)
            candidates.append(("compiled", compiled))
        except Exception as error:  # no compiler, or a graph it cannot take: eager it is
            candidates[0] = (f"eager ({type(error).__name__} from torch.compile)",
                             candidates[0][1])
        settings, self.run = fastest(candidates, images)
        return f"{settings}, channels last, inference mode, {self.threads} threads"


class PyTorchCuda:
    """On a GPU: eager, as one CUDA graph, and compiled for as long as that pays, the fastest kept.

    A run is what a user waits for: pixels from pinned memory to the device, the net, scores back.
    device_us() are the times of the net alone, between events.
    """

    name = "pytorch-cuda"
    TYPES = ("float32", "tf32", "float16", "bfloat16")

    def __init__(self, path, precision, threads):
        del threads
        if precision not in self.TYPES:
            raise Refused(f"PyTorch runs no {precision} ONNX file")
        import torch

        import nets

        if not torch.cuda.is_available():
            raise Refused("PyTorch finds no GPU")
        self.torch = torch
        self.version = torch.__version__
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True
        self.type = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(
            precision, torch.float32)
        model = nets.from_onnx(path).eval()
        model = model.to("cuda", self.type, memory_format=torch.channels_last)
        for module in model.modules():
            if isinstance(module, nets.Pixels):
                module.dtype = self.type
        self.model = model
        self.precision = precision
        self.replay = None
        self.buffers = None

    def eager(self, model):
        pixels, _, scores = self.buffers

        def replay():
            with self.torch.inference_mode():
                scores.copy_(model(pixels))

        return replay

    def graph(self, model):
        torch = self.torch
        step = self.eager(model)
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return graph.replay

    def candidates(self):
        yield "eager", self.eager(self.model)
        yield "CUDA graph", self.graph(self.model)
        try:
            compiled = self.torch.compile(self.model, mode="max-autotune-no-cudagraphs")
            yield "compiled, max-autotune, CUDA graph", self.graph(compiled)
        except Exception:  # no compiler here, or a graph it cannot take: the others stand
            return

    def prepare(self, images):
        torch = self.torch
        pixels = torch.from_numpy(images).cuda()
        pinned = torch.from_numpy(images.copy()).pin_memory()
        with torch.inference_mode():
            scores = self.model(pixels).float()
        self.buffers = (pixels, pinned, scores)
        best = None
        for name, replay in self.candidates():
            time_us = statistics.median(self.timed(replay, 20))
            if best is None or time_us < best[0]:
                best = (time_us, name, replay)
        self.replay = best[2]
        return f"{best[1]}, {self.precision}, channels last"

    def timed(self, replay, runs):
        event = lambda: self.torch.cuda.Event(enable_timing=True)  # noqa: E731
        for _ in range(3):
            replay()
        pairs = []
        for _ in range(runs):
            begin, end = event(), event()
            begin.record()
            replay()
            end.record()
            pairs.append((begin, end))
        self.torch.cuda.synchronize()
        return [begin.elapsed_time(end) * 1000 for begin, end in pairs]

    def device_us(self, runs):
        return self.timed(self.replay, runs)

    def run(self, images):
        pixels, pinned, scores = self.buffers
        pinned.numpy()[...] = images
        pixels.copy_(pinned, non_blocking=True)
        self.replay()
        return scores.cpu().numpy()


ENGINES = {engine.name: engine for engine in (OnnxRuntime, OpenVino, PyTorch, PyTorchCuda)}
