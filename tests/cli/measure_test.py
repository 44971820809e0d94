#!/usr/bin/env python3
"""eval, bench, run and explain from the command line, against answers worked out here.

  measure_test.py PARE        (Python's own library alone)

The model is tests/fixtures/measure/linear.onnx and others its script makes: whole numbers, so that
every score is known exactly.
"""
import json
import math
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
sys.path.insert(0, str(FIXTURES / "measure"))
import make_linear  # noqa: E402

PARE = str(pathlib.Path(sys.argv[1]).resolve()) if __name__ == "__main__" else ""
LINEAR = str(FIXTURES / "measure" / "linear.onnx")
PEERS = FIXTURES.parent.parent / "build" / "peers" / "bin" / "python"
SIDE = make_linear.SIDE


# Speaks as peers/peer.py does, for engines that are played: one answers as the model does, one has its
# classes one place off, one refuses. What it is asked goes to the file named by PEER_LOG.
PLAYED_PEER = """
import json, math, os, sys
sys.path.insert(0, os.environ["MAKE_LINEAR"])
import make_linear
TIME_US = {"onnxruntime": 200000.0, "pytorch": 100000.0}
for line in sys.stdin:
    request = json.loads(line)
    with open(os.environ["PEER_LOG"], "a") as log:
        log.write(line)
    op = request["op"]
    if op == "open" and request["engine"] == "openvino":
        answer = {"error": "it stayed at home"}
    elif op == "open":
        opened = request
        size = math.prod(request["shape"])
        with open(request["images"], "rb") as file:
            raw = file.read()
        images = [raw[i:i + size] for i in range(0, len(raw), size)]
        answer = {"version": "7"}
    elif op == "prepare":
        answer = {"settings": f"played, batch {request['batch']}"}
    elif op == "scores":
        rows = [make_linear.scores(images[i % len(images)]) for i in range(request["count"])]
        if opened["engine"] == "pytorch":
            rows = [row[1:] + row[:1] for row in rows]
        answer = {"scores": rows}
    else:
        answer = {"samples_us": [TIME_US[opened["engine"]]] * request["runs"], "peak_bytes": 4096}
    print(json.dumps(answer), flush=True)
"""


def pare(*arguments, **options):
    return subprocess.run([PARE, *map(str, arguments)], capture_output=True, text=True, timeout=300,
                          check=False, **options)


def png(path, pixels, side=SIDE):
    """Writes planes (channels, rows, columns) as an RGB picture."""
    area = side * side
    rows = b"".join(b"\0" + bytes(pixels[c * area + y * side + x] for x in range(side) for c in range(3))
                    for y in range(side))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def best(scores):
    return max(range(len(scores)), key=lambda c: (scores[c], -c))


def ranked(scores):
    return sorted(range(len(scores)), key=lambda c: (-scores[c], c))


def wilson(k, n):
    z = 1.959963984540054
    p = k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return 100 * (middle - half), 100 * (middle + half)


def mcnemar(a, b):
    n = a + b
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, i) for i in range(min(a, b) + 1)) / 2 ** n
    return min(1.0, 2 * tail)


class Measure(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.data = cls.folder / "pictures"
        os.environ["XDG_CACHE_HOME"] = str(cls.folder / "cache")
        rng = random.Random(7)
        cls.labels, cls.pixels = [], []
        for label, name in enumerate(make_linear.CLASSES):
            for part in ("train", "val"):
                (cls.data / part / name).mkdir(parents=True)
            png(cls.data / "train" / name / "0.png", [0] * make_linear.PIXELS)
            for i in range(9):
                pixels = [rng.randrange(256) for _ in range(make_linear.PIXELS)]
                # Half the images are turned towards their class, so that some answers are right.
                if i % 2 == 0:
                    pixels = [255 if make_linear.weight(label, p) > 0 else 0 for p in range(make_linear.PIXELS)]
                    pixels[i] = rng.randrange(256)
                png(cls.data / "val" / name / f"{i}.png", pixels)
                cls.labels.append(label)
                cls.pixels.append(pixels)
        cls.scores = [make_linear.scores(p) for p in cls.pixels]
        cls.answers = [best(s) for s in cls.scores]
        # The same model with classes 1 and 2 confused: their rows changed places.
        cls.other = cls.folder / "other.onnx"
        weight, bias = make_linear.weight, make_linear.bias
        swap = {1: 2, 2: 1}
        try:
            make_linear.weight = lambda c, p: weight(swap.get(c, c), p)
            make_linear.bias = lambda c: bias(swap.get(c, c))
            cls.other.write_bytes(make_linear.model())
        finally:
            make_linear.weight, make_linear.bias = weight, bias
        cls.other_answers = [swap.get(a, a) for a in cls.answers]

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def assert_done(self, result):
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def assert_refused(self, code, texts, *arguments, **options):
        """Exit code, one line on stderr that holds the texts, nothing on stdout."""
        result = pare(*arguments, **options)
        self.assertEqual(result.returncode, code, (arguments, result.stdout, result.stderr))
        self.assertEqual(result.stdout, "")
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        for text in texts:
            self.assertIn(text, result.stderr)

    def test_eval_counts_what_was_worked_out_here(self):
        answers = self.folder / "answers.txt"
        out = json.loads(self.assert_done(
            pare("eval", LINEAR, "--data", self.data, "--json", "--predictions", answers)))
        self.assertEqual([int(line) for line in answers.read_text().splitlines()], self.answers)
        right = sum(a == b for a, b in zip(self.answers, self.labels))
        near = sum(label in ranked(s)[:5] for s, label in zip(self.scores, self.labels))
        self.assertTrue(0 < right < near < len(self.labels), "the test's own images must be worth something")
        one, = out
        self.assertEqual(one["model"], LINEAR)
        self.assertEqual(one["images"], len(self.labels))
        self.assertAlmostEqual(one["top1"], 100 * right / len(self.labels))
        low, high = wilson(right, len(self.labels))
        self.assertAlmostEqual(one["top1_low"], low)
        self.assertAlmostEqual(one["top1_high"], high)
        self.assertAlmostEqual(one["top5"], 100 * near / len(self.labels))
        self.assertEqual((one["flips"], one["mcnemar_p"]), (0, 1))

    def test_eval_compares_with_the_first(self):
        records = self.folder / "records.jsonl"
        out = json.loads(self.assert_done(
            pare("eval", LINEAR, self.other, "--data", self.data, "--json", "--records", records)))
        pairs = list(zip(self.labels, self.answers, self.other_answers))
        flips = sum(a != b for _, a, b in pairs)
        only_first = sum(a == label != b for label, a, b in pairs)
        only_second = sum(b == label != a for label, a, b in pairs)
        self.assertGreater(only_first, 0)
        second = out[1]
        self.assertAlmostEqual(second["flips"], 100 * flips / len(pairs))
        self.assertAlmostEqual(second["mcnemar_p"], mcnemar(only_first, only_second))
        lines = [json.loads(line) for line in records.read_text().splitlines()]
        self.assertEqual([r["kind"] for r in lines], ["accuracy", "predictions"] * 2)
        self.assertEqual(lines[3]["predicted"], self.other_answers)
        self.assertEqual(lines[2]["against"], LINEAR)

    def test_answers_do_not_depend_on_the_file_the_batch_or_the_threads(self):
        packed = self.folder / "linear.pare"
        self.assert_done(pare("pack", LINEAR, "-o", packed))
        for model, batch, threads in ((LINEAR, 1, 1), (packed, 7, 2), (packed, 1000, 1)):
            answers = self.folder / "again.txt"
            self.assert_done(pare("eval", model, "--data", self.data, "--predictions", answers,
                                  "--batch", batch, "--threads", threads))
            self.assertEqual([int(line) for line in answers.read_text().splitlines()], self.answers)

    def test_eval_prints_a_table(self):
        out = self.assert_done(pare("eval", LINEAR, self.other, "--data", self.data, "--images", 5))
        self.assertIn("top-1 %", out)
        self.assertIn("the first 5 of", out)
        self.assertIn("McNemar", out)

    def test_eval_on_the_built_in_images(self):
        model = self.folder / "ten.onnx"
        model.write_bytes(make_linear.model(10))
        one, = json.loads(self.assert_done(pare("eval", model, "--images", 300, "--json")))
        self.assertEqual(one["images"], 300)
        self.assertIn("CIFAR-10", one["data"])
        self.assertIn("resized to 4x4", one["data"])

    def test_run_follows_the_contract(self):
        image = self.folder / "one.png"
        png(image, self.pixels[0])
        first, = json.loads(self.assert_done(pare("run", LINEAR, image, "--json")))
        self.assertEqual(first["image"], str(image))
        order = ranked(self.scores[0])
        self.assertEqual([c["class"] for c in first["classes"]], order[:5])
        self.assertEqual([c["name"] for c in first["classes"]], [make_linear.CLASSES[c] for c in order[:5]])
        self.assertEqual([c["score"] for c in first["classes"]], [self.scores[0][c] for c in order[:5]])
        total = sum(math.exp(s - max(self.scores[0])) for s in self.scores[0])
        self.assertAlmostEqual(first["classes"][0]["probability"], 1 / total)
        # A picture of another size: every block of 5x5 pixels has one colour, so its mean is known.
        large = self.folder / "large.png"
        area = SIDE * SIDE
        png(large, [self.pixels[1][c * area + (y // 5) * SIDE + x // 5]
                    for c in range(3) for y in range(20) for x in range(20)], 20)
        out = self.assert_done(pare("run", LINEAR, large, image, "--top", 1))
        self.assertEqual(len(out.splitlines()), 4)
        self.assertIn(make_linear.CLASSES[order[0]], out.splitlines()[3])

    def test_bench_has_every_setting(self):
        records = self.folder / "times.jsonl"
        out = json.loads(self.assert_done(
            pare("bench", LINEAR, self.other, "--batch", "1,8", "--threads", "1,2", "--seconds", 0,
                 "--data", self.data, "--json", "--records", records)))
        self.assertEqual([(r["threads"], r["batch"], r["model"]) for r in out],
                         [(t, b, m) for t in (1, 2) for b in (1, 8) for m in (LINEAR, str(self.other))])
        for r in out:
            self.assertEqual((r["engine"], r["precision"]), ("pare", "float32"))
            self.assertGreater(r["latency_us_p50"], 0)
            self.assertLessEqual(r["latency_us_p50"], r["latency_us_p90"])
            self.assertLessEqual(r["latency_us_p90"], r["latency_us_p99"])
            self.assertAlmostEqual(r["images_per_s"], 1e6 * r["batch"] / r["latency_us_p50"])
            self.assertGreater(r["peak_bytes"], 4 * 6 * 48)
            self.assertGreaterEqual(r["runs"], 20)
            self.assertEqual(r["images"], len(self.labels))
            self.assertIn("reference kernels", r["checked"])
        self.assertEqual(len(records.read_text().splitlines()), 8)

    def test_bench_turns_through_256_images_by_default(self):
        model = self.folder / "ten.onnx"
        model.write_bytes(make_linear.model(10))
        out = json.loads(self.assert_done(pare("bench", model, "--seconds", 0, "--json", "--precision", "bfloat16")))
        self.assertEqual([r["batch"] for r in out], [1, 64])
        for r in out:
            self.assertEqual((r["images"], r["precision"]), (256, "bfloat16"))
        table = self.assert_done(pare("bench", model, "--batch", 2, "--seconds", 0))
        self.assertIn("256 different images in rotation", table)
        self.assertIn("checked " + str(model), table)

    def play_peers(self):
        """The environment in which --peers finds the played ones, and the log of what they are asked."""
        folder = self.folder / "played"
        folder.mkdir(exist_ok=True)
        (folder / "peer.py").write_text(PLAYED_PEER)
        log = folder / "asked.jsonl"
        log.write_text("")
        return {**os.environ, "PARE_PEERS": str(folder), "PARE_PEERS_PYTHON": sys.executable,
                "MAKE_LINEAR": str(FIXTURES / "measure"), "PEER_LOG": str(log)}, log

    def test_bench_beside_played_peers(self):
        environment, log = self.play_peers()
        records = self.folder / "peers.jsonl"
        result = pare("bench", LINEAR, "--peers", "--batch", "2,8", "--threads", 1, "--seconds", 0, "--data", self.data,
                      "--json", "--records", records, env=environment)
        out = json.loads(self.assert_done(result))
        self.assertEqual([(r["batch"], r["engine"]) for r in out],
                         [(b, e) for b in (2, 8) for e in ("pare", "onnxruntime", "pytorch")])
        for r in out:
            if r["engine"] == "pare":
                self.assertEqual(r["best_peer"], "pytorch")
                self.assertAlmostEqual(r["ratio_to_best_peer"], r["latency_us_p50"] / 100000)
                continue
            self.assertEqual((r["engine_version"], r["peak_bytes"], r["precision"], r["threads"]), ("7", 4096, "float32", 1))
            self.assertEqual(r["latency_us_p99"], 200000 if r["engine"] == "onnxruntime" else 100000)
            self.assertNotIn("best_peer", r)
            # 54 images make 27 batches of 2 and 6 of 8.
            images = 54 if r["batch"] == 2 else 48
            turned = [s[1:] + s[:1] for s in self.scores[:images]]
            same = images if r["engine"] == "onnxruntime" else sum(
                best(t) == a for t, a in zip(turned, self.answers))
            self.assertEqual(same == images, r["engine"] == "onnxruntime")
            self.assertIn(f"top-1 as ours for {same} of {images} images", r["checked"])
            self.assertIn(f"played, batch {r['batch']}", r["checked"])
        self.assertEqual(result.stderr.splitlines(), ["left out: openvino: it stayed at home"])
        self.assertEqual(len(records.read_text().splitlines()), 6)
        asked = [json.loads(line) for line in log.read_text().splitlines()]
        opened = [r for r in asked if r["op"] == "open"]
        self.assertEqual([(r["engine"], r["precision"], r["threads"], r["shape"]) for r in opened],
                         [(e, "float32", 1, [3, SIDE, SIDE]) for e in ("onnxruntime", "openvino", "pytorch")])
        self.assertFalse(pathlib.Path(opened[0]["model"]).exists(), "what the peers read must be gone")

    def test_bench_peers_in_words(self):
        environment, _ = self.play_peers()
        out = self.assert_done(pare("bench", LINEAR, "--peers", "--engines", "onnxruntime,openvino", "--batch", 2,
                                    "--threads", 1, "--seconds", 0, "--data", self.data, env=environment))
        self.assertRegex(out, r"against 200(\.0)? ms by onnxruntime 7: ours / best peer 0\.00")
        self.assertIn("left out: openvino: it stayed at home", out)
        self.assert_refused(2, ["--engines", "--peers"], "bench", LINEAR, "--engines", "openvino")
        self.assert_refused(1, ["peer.py", "PARE_PEERS"], "bench", LINEAR, "--peers", "--data", self.data,
                            env={**environment, "PARE_PEERS": str(self.folder / "nowhere")})
        self.assert_refused(1, ["no-such-python", "peers/setup"], "bench", LINEAR, "--peers", "--data", self.data,
                            env={**environment, "PARE_PEERS_PYTHON": "/no-such-python"})

    @unittest.skipUnless(PEERS.exists(), "the peers are not installed (peers/setup)")
    def test_bench_beside_the_peers_themselves(self):
        result = pare("bench", LINEAR, "--peers", "--batch", 8, "--threads", 1, "--seconds", 0, "--data", self.data, "--json")
        out = json.loads(self.assert_done(result))
        self.assertGreater(len(out), 1, result.stderr)
        for r in out[1:]:
            self.assertIn("top-1 as ours for 48 of 48 images", r["checked"])

    def test_explain_lists_the_plan(self):
        out = json.loads(self.assert_done(pare("explain", LINEAR, "--batch", 3, "--time", "--seconds", 0,
                                               "--data", self.data, "--json")))
        self.assertEqual(sum(layer["macs"] for layer in out["layers"]), 6 * 48)
        self.assertGreaterEqual(sum(layer["weight_bytes"] for layer in out["layers"]), 4 * 6 * 48)
        for layer in out["layers"]:
            self.assertTrue(layer["kernel"] and layer["reason"])
            self.assertGreaterEqual(layer["latency_us"], 0)
        table = self.assert_done(pare("explain", LINEAR))
        self.assertIn("Gemm", table)
        self.assertIn("why", table)
        slow = json.loads(self.assert_done(pare("explain", LINEAR, "--cpu-level", "baseline", "--json")))
        self.assertFalse(any("avx" in layer["kernel"] for layer in slow["layers"]))

    def test_explain_against_ceilings_and_the_original(self):
        records = self.folder / "layers.jsonl"
        out = json.loads(self.assert_done(pare("explain", LINEAR, "--against", self.other, "--seconds", 0, "--threads", 1,
                                               "--data", self.data, "--records", records, "--json")))
        self.assertGreater(out["ceilings"]["float32_gmac_s"], 0)
        self.assertEqual(out["ceilings"], json.loads(self.assert_done(
            pare("explain", LINEAR, "--time", "--seconds", 0, "--threads", 1, "--data", self.data, "--json")))["ceilings"])
        for layer in out["layers"]:
            self.assertIn(layer["bound"], ("memory", "compute", "overhead"))
            self.assertGreater(layer["limit_us"], 0)
        product = next(layer for layer in out["layers"] if layer["macs"])
        self.assertEqual(product["work_macs"], 6 * 48)
        gains = {layer["name"]: layer for layer in out["against"]["layers"]}
        self.assertAlmostEqual(gains["fc"]["predicted_gain"], 1)
        if gains["fc"]["measured_gain"] < 1.05:
            self.assertIn("overhead", gains["fc"]["gain_reason"])
        kinds = [json.loads(line)["kind"] for line in records.read_text().splitlines()]
        self.assertEqual(kinds, ["ceilings"] + ["layer"] * len(out["layers"]))
        again = json.loads(self.assert_done(pare("explain", LINEAR, "--time", "--seconds", 0, "--threads", 1, "--data",
                                                 self.data, "--retake-ceilings", "--json")))
        self.assertNotEqual(again["ceilings"], out["ceilings"])
        table = self.assert_done(pare("explain", LINEAR, "--against", self.other, "--seconds", 0, "--data", self.data))
        for text in ("bound by", "reached", "ceilings of", "against", "why not faster", "as fast, predicted"):
            self.assertIn(text, table)
        self.assert_refused(2, ["nothing measured without --time"], "explain", LINEAR, "--records", records)
        self.assert_refused(2, ["with --time only"], "explain", LINEAR, "--retake-ceilings")
        self.assert_refused(1, ["no-such.onnx"], "explain", LINEAR, "--against", "no-such.onnx")

    def test_tune_kernels_keeps_the_answers(self):
        tuned = self.folder / "tuned.onnx"
        out = json.loads(self.assert_done(pare("tune-kernels", LINEAR, "-o", tuned, "--seconds", 0, "--threads", 1,
                                               "--data", self.data, "--json")))
        for layer in out["layers"]:
            self.assertGreater(len(layer["kernels"]), 0)
            self.assertIn(layer["fastest"], [k["kernel"] for k in layer["kernels"]])
        plan = {layer["name"]: layer["kernel"] for layer in json.loads(self.assert_done(
            pare("explain", tuned, "--threads", 1, "--json")))["layers"]}
        for name, kernel in out["stored"].items():
            self.assertEqual(plan[name], kernel)
        both = json.loads(self.assert_done(pare("eval", LINEAR, tuned, "--data", self.data, "--json")))
        self.assertEqual(both[1]["flips"], 0)
        self.assertEqual(both[1]["top1"], both[0]["top1"])

    def test_tune_finds_a_smaller_model_and_goes_on(self):
        folder = self.folder / "tune"
        # The fixture's training pictures are one a class: here those to be tested on are trained on too.
        data = self.folder / "twice"
        shutil.copytree(self.data / "val", data / "train")
        shutil.copytree(self.data / "val", data / "val")
        arguments = ["tune", LINEAR, "--minimise", "size", "--seconds", 0, "--held-out", 10, "--max-drop", 50, "--budget",
                     0, "--threads", 1, "--data", data, "-o", folder, "--json"]
        out = json.loads(self.assert_done(pare(*arguments)))
        best = next(t for t in out["tries"] if t["recipe"] == out["best"])
        self.assertEqual(os.path.getsize(out["output"]), best["pare_bytes"])
        self.assertLess(best["pare_bytes"], out["pare_bytes"])
        self.assertEqual(best["pare_bytes"], min(t["pare_bytes"] for t in out["tries"]
                                                 if "pare_bytes" in t and -t["change_points"] <= 50))
        # What it says of the test images is what eval says.
        both = json.loads(self.assert_done(pare("eval", LINEAR, out["output"], "--data", data, "--json")))
        self.assertAlmostEqual(out["test"]["top1"], both[1]["top1"])
        again = json.loads(self.assert_done(pare(*arguments)))
        self.assertEqual(again["taken_over"], len(out["tries"]))
        self.assertEqual(again["best"], out["best"])
        words = self.assert_done(pare(*arguments[:-1]))
        self.assertIn(f"best: {out['best']} -> {out['output']}", words)
        self.assert_refused(2, ["--minimise: expected latency or size, found 'sise'; did you mean size?"], "tune", LINEAR,
                            "--minimise", "sise")

    @unittest.skipUnless(PEERS.exists(), "the peers are not installed (peers/setup)")
    def test_diff_beside_an_engine(self):
        out = json.loads(self.assert_done(pare("diff", LINEAR, "--engine", "onnxruntime", "--data", self.data,
                                               "--images", 20, "--json")))
        self.assertEqual((out["engine"], out["images"]), ("onnxruntime", 20))
        self.assertEqual([layer["layer"] for layer in out["layers"]], ["fc"])
        self.assertLess(out["layers"][0]["relative_error"], 1e-5)
        self.assertIsNone(out["first_beyond"])
        other = json.loads(self.assert_done(pare("diff", LINEAR, self.other, "--engine", "openvino", "--data", self.data,
                                                 "--json")))
        self.assertEqual(other["first_beyond"], "fc")

    def test_files_that_are_no_models(self):
        whole = pathlib.Path(LINEAR).read_bytes()
        packed = self.folder / "linear.pare"
        self.assert_done(pare("pack", LINEAR, "-o", packed))
        cut = self.folder / "cut.pare"
        cut.write_bytes(packed.read_bytes()[:-40])
        half = self.folder / "half.onnx"
        half.write_bytes(whole[:700])
        image = self.data / "val" / "cat" / "0.png"
        for command, rest in (("eval", ["--data", self.data]), ("bench", []), ("run", [image]), ("explain", [])):
            self.assert_refused(1, ["no-such.onnx"], command, "no-such.onnx", *rest)
            self.assert_refused(1, [str(cut)], command, cut, *rest)
            self.assert_refused(1, [str(half)], command, half, *rest)

    def test_diff(self):
        out = json.loads(self.assert_done(
            pare("diff", LINEAR, self.other, "--data", self.data, "--images", 20, "--json")))
        self.assertEqual([layer["layer"] for layer in out["layers"]], ["fc"])
        # Classes 1 and 2 changed places.
        scores = self.scores[:20]
        noise = sum(2 * (s[1] - s[2]) ** 2 for s in scores)
        signal = sum(v * v for s in scores for v in s)
        self.assertAlmostEqual(out["layers"][0]["relative_error"], math.sqrt(noise / signal), places=5)
        self.assertEqual(out["first_beyond"], "fc")
        same = self.assert_done(pare("diff", LINEAR, "--reference", "--data", self.data))
        self.assertIn("all within a relative error of 1e-05", same)
        strict = self.assert_done(pare("diff", LINEAR, self.other, "--tolerance", 0, "--data", self.data))
        self.assertIn("first beyond a relative error of 0: fc", strict)
        self.assert_refused(2, ["expected a second model"], "diff", LINEAR)
        self.assert_refused(1, ["no-such-file.onnx"], "diff", LINEAR, "no-such-file.onnx")
        self.assert_refused(2, ["--images"], "diff", LINEAR, self.other, "--images", "many")

    def test_images_that_do_not_fit(self):
        seven = self.folder / "seven.onnx"
        seven.write_bytes(make_linear.model(7))
        self.assert_refused(2, [str(seven), "7 classes", "has 6"], "eval", seven, "--data", self.data)
        self.assert_refused(1, ["no-such-folder"], "eval", LINEAR, "--data", "no-such-folder")
        self.assert_refused(1, ["no-such-folder"], "bench", LINEAR, "--data", "no-such-folder")
        self.assert_refused(2, ["55 images"], "eval", LINEAR, "--data", self.data, "--images", 55)
        image = self.data / "val" / "cat" / "0.png"
        cut = self.folder / "cut.png"
        cut.write_bytes(image.read_bytes()[:60])
        self.assert_refused(1, [str(cut)], "run", LINEAR, cut)
        some = pare("run", LINEAR, cut, image, "no.png", "--json")  # the others are answered
        self.assertEqual(some.returncode, 1)
        self.assertEqual([answer["image"] for answer in json.loads(some.stdout)], [str(image)])
        lines = some.stderr.splitlines()
        self.assertIn(str(cut), lines[0])
        self.assertIn("no.png", lines[1])
        self.assertEqual(lines[2], "pare: 2 of 3 pictures have no answer")
        self.assert_refused(1, ["no.png"], "run", LINEAR, "no.png")

    def test_scores_that_are_no_numbers(self):
        broken = self.folder / "nan.onnx"
        broken.write_bytes(make_linear.model(gain=math.nan))
        image = self.data / "val" / "cat" / "0.png"
        self.assert_refused(1, [str(broken), "image 0", "NaN"], "eval", broken, "--data", self.data)
        self.assert_refused(1, [str(image), "NaN"], "run", broken, image)
        self.assert_refused(1, [str(broken)], "bench", broken, "--data", self.data, "--batch", 2)

    def test_wrong_use(self):
        for arguments in (["eval"], ["eval", LINEAR, "--batch", 0], ["bench", LINEAR, "--threads", "0"],
                          ["bench", LINEAR, "--batch", "1,x"], ["run", LINEAR],
                          ["eval", LINEAR, "--precision", "int3"], ["explain", LINEAR, "--batch", 70000]):
            self.assert_refused(2, [], *arguments)
        self.assert_refused(2, ["--predictions", "2 are given"], "eval", LINEAR, self.other, "--data", self.data,
                            "--predictions", self.folder / "two.txt")
        self.assert_refused(2, ["sse9"], "explain", LINEAR, "--cpu-level", "sse9")

    def test_nothing_half_written(self):
        nowhere = self.folder / "nowhere" / "answers.txt"
        for flag in ("--predictions", "--records"):
            self.assert_refused(1, [str(nowhere)], "eval", LINEAR, "--data", self.data, flag, nowhere)
            self.assert_refused(1, [str(self.folder)], "eval", LINEAR, "--data", self.data, flag, self.folder)
            self.assert_refused(1, ["/dev/full"], "eval", LINEAR, "--data", self.data, flag, "/dev/full")
        self.assert_refused(1, ["/dev/full"], "bench", LINEAR, "--data", self.data, "--seconds", 0, "--batch", 1,
                            "--records", "/dev/full")
        self.assertTrue(pathlib.Path("/dev/full").is_char_device())
        with open("/dev/full", "w", encoding="utf-8") as full:
            for arguments in (["explain", LINEAR], ["run", LINEAR, *[self.data / "val" / "cat" / "0.png"] * 100, "--json"]):
                result = subprocess.run([PARE, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True,
                                        check=False)
                self.assertEqual(result.returncode, 1)
                self.assertIn("standard output: No space left", result.stderr)
                self.assertEqual(len(result.stderr.splitlines()), 1)
        # A run that fails leaves what was there before.
        answers = self.folder / "kept.txt"
        answers.write_text("kept\n")
        pare("eval", LINEAR, "--data", "no-such-folder", "--predictions", answers)
        self.assertEqual(answers.read_text(), "kept\n")
        self.assertEqual([p.name for p in self.folder.glob("kept.txt*")], ["kept.txt"])
        if os.geteuid() != 0:  # root writes anywhere
            locked = self.folder / "locked"
            locked.mkdir(mode=0o500)
            self.assert_refused(1, [str(locked)], "eval", LINEAR, "--data", self.data, "--predictions",
                                locked / "answers.txt")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
