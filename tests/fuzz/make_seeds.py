"""Makes the seeds of the fuzzers in tests/fuzz/corpus, all but those of .pare: small graphs that use every family of operators
and every pass, small safetensors files, pictures, archives, records, recipes and checkpoints. (corpus/pare/NAME is
`pare pack` of corpus/onnx/NAME.)

    python tests/fuzz/make_seeds.py          (needs onnx, numpy, safetensors, xxhash)
"""
import io
import json
import pathlib
import shutil
import struct
import tarfile

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper
import xxhash
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent / "corpus"
F, U8, I8, I32, I64 = np.float32, np.uint8, np.int8, np.int32, np.int64


def save(name, shape, rank, nodes, constants, opset=17, kind=TensorProto.FLOAT, metadata=None):
    """Nodes are (op, inputs, outputs, attributes); x is the input, y the output of `rank` dimensions."""
    graph = helper.make_graph([helper.make_node(op, i.split(), o.split(), **a) for op, i, o, a in nodes], name,
                              [helper.make_tensor_value_info("x", kind, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
                              [numpy_helper.from_array(np.array(v), k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    checker.check_model(model, full_check=True)
    (HERE / "onnx" / name).write_bytes(model.SerializeToString())


def onnx_seeds():
    save("conv_bn", ["N", 3, 5, 5], 2, [
        ("Cast", "x", "f", {"to": 1}), ("Mul", "f scale", "g", {}), ("Add", "g shift", "h", {}),
        ("Conv", "h w", "c", {"kernel_shape": [2, 2]}), ("BatchNormalization", "c one zero zero one", "b", {}),
        ("Relu", "b", "r", {}), ("MaxPool", "r", "p", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
        ("AveragePool", "p", "a", {"kernel_shape": [1, 1]}), ("GlobalAveragePool", "a", "m", {}),
        ("Flatten", "m", "l", {}), ("Dropout", "l", "d", {}), ("Gemm", "d v k", "y", {"transB": 1}),
    ], {"scale": F([[[1]], [[2]], [[3]]]), "shift": F([[[1]], [[2]], [[3]]]), "w": np.ones((2, 3, 2, 2), F),
        "one": F([1, 1]), "zero": F([0, 0]), "v": F([[1, 2]]), "k": F([3])}, kind=TensorProto.UINT8,
         metadata={"pare.contract": '{"channels":3,"height":5,"width":5,"classes":["a"]}', "note": "seed"})
    heads = [node for i, n in enumerate("qkv") for node in (
        ("Reshape", f"p{i} heads", n + "4", {}),
        ("Transpose", n + "4", n, {"perm": [0, 2, 3, 1] if n == "k" else [0, 2, 1, 3]}))]
    save("attention", ["N", 2, 12], 3, [("Split", "x sizes", "p0 p1 p2", {"axis": -1})] + heads + [
        ("MatMul", "q k", "s", {}), ("Div", "s root", "t", {}), ("Softmax", "t", "p", {}), ("MatMul", "p v", "c", {}),
        ("Transpose", "c", "o", {"perm": [0, 2, 1, 3]}), ("Reshape", "o merged", "y", {}),
    ], {"sizes": I64([4, 4, 4]), "heads": I64([0, 2, 2, 2]), "merged": I64([0, 2, 4]), "root": F(1.5)})
    save("norm_gelu", ["N", 4], 2, [
        ("ReduceMean", "x", "m", {"axes": [-1]}), ("Sub", "x m", "d", {}), ("Pow", "d two", "s", {}),
        ("ReduceMean", "s", "v", {"axes": [-1]}), ("Add", "v e", "w", {}), ("Sqrt", "w", "r", {}), ("Div", "d r", "n", {}),
        ("Mul", "n g", "h", {}), ("Add", "h g", "i", {}), ("Div", "i root", "j", {}), ("Erf", "j", "k", {}),
        ("Add", "k one", "l", {}), ("Mul", "i l", "o", {}), ("Mul", "o half", "y", {}),
    ], {"two": F(2), "e": F(1e-5), "g": F([1, 2, 3, 4]), "root": F(2 ** .5), "one": F(1), "half": F(.5)})
    save("gelu_tanh", ["N", 4], 2, [
        ("Pow", "x three", "a", {}), ("Mul", "a c", "b", {}), ("Add", "x b", "d", {}), ("Mul", "d r", "e", {}),
        ("Tanh", "e", "f", {}), ("Add", "f one", "g", {}), ("Mul", "g x", "h", {}), ("Mul", "h half", "y", {}),
    ], {"three": F(3), "c": F(.044715), "r": F((2 / np.pi) ** .5), "one": F(1), "half": F(.5)})
    save("shapes", ["N", 4, 6], 2, [
        ("Shape", "x", "s", {}), ("Gather", "s zero", "n", {"axis": 0}), ("Unsqueeze", "n axes", "n1", {}),
        ("Slice", "s one two", "t", {}), ("Mul", "t half", "u", {}), ("Concat", "n1 u minus", "target", {"axis": 0}),
        ("Reshape", "x target", "r", {}), ("Squeeze", "r last", "z", {}), ("Equal", "target minus", "q", {}),
        ("Where", "q three target", "e", {}), ("ConstantOfShape", "three", "o", {}), ("Cast", "e", "ef", {"to": 1}),
        ("Cast", "ef", "ei", {"to": 7}), ("ReduceProd", "ei", "product", {}), ("Range", "zero product zero1", "range", {}),
        ("Identity", "z", "y", {}),
    ], {"zero": I64(0), "zero1": I64(1), "axes": I64([0]), "one": I64([1]), "two": I64([2]), "half": I64([6]),
        "minus": I64([-1]), "last": I64([2]), "three": I64([3])})
    save("expand_pad", ["N", 2, 3], 2, [
        ("Shape", "x", "s", {"start": 0, "end": 1}), ("Concat", "s tail", "t", {"axis": 0}), ("Expand", "token t", "e", {}),
        ("Concat", "e x", "c", {"axis": 1}), ("Add", "c pos", "a", {}), ("Pad", "a pads", "p", {}),
        ("Tile", "p rep", "i", {}), ("Slice", "i st en ax sp", "l", {}), ("ReduceSum", "l ax", "y", {"keepdims": 0}),
    ], {"tail": I64([1, 3]), "token": F([[[1, 2, 3]]]), "pos": np.ones((1, 3, 3), F), "pads": I64([0, 1, 0, 0, 0, 1]),
        "rep": I64([1, 1, 2]), "st": I64([7]), "en": I64([0]), "ax": I64([2]), "sp": I64([-2])})
    save("qdq", ["N", 3], 2, [
        ("QuantizeLinear", "x s z", "q", {}), ("DequantizeLinear", "q s z", "d", {}),
        ("DequantizeLinear", "w ws", "v", {"axis": 1}), ("MatMul", "d v", "m", {}), ("DequantizeLinear", "b bs", "k", {}),
        ("Add", "m k", "a", {}), ("DynamicQuantizeLinear", "a", "e es ez", {}), ("MatMulInteger", "e w2 ez", "i", {}),
        ("Cast", "i", "f", {"to": 1}), ("Mul", "f es", "y", {}),
    ], {"s": F(.1), "z": U8(3), "w": np.ones((3, 2), I8), "ws": F([1, 2]), "b": I32([1, 2]), "bs": F(.1),
        "w2": np.ones((2, 2), I8)})


def safetensors_seeds():
    folder = HERE / "safetensors"
    save_file({"a": F([1, 2]), "b": np.zeros((2, 1, 3), np.float16), "c": I64([[5]]), "d": np.array([True, False]),
               "none": np.zeros((0, 7), I8)}, folder / "types", metadata={"k": "v"})
    save_file({"only": U8([1, 2, 3])}, folder / "unaligned")
    save_file({}, folder / "empty")


def data_seeds():
    fixtures = HERE.parent.parent / "fixtures" / "data"
    for name in ("bits.png", "palette_clear.png", "grey.png", "jpeg_420.jpg", "jpeg_progressive.jpg", "jpeg_grey.jpg"):
        shutil.copy(fixtures / "images" / name, HERE / "image" / name)
    shutil.copy(fixtures / "tiny.pimg", HERE / "packed_images" / "tiny")
    # The first byte is the fuzzer's own: layout, and twice the number of records.
    (HERE / "cifar" / "cifar10").write_bytes(bytes([2, 9]) + bytes(3072))
    (HERE / "cifar" / "cifar100").write_bytes(bytes([3, 19, 99]) + bytes(3072))
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in (("set/words.txt", b"words"), ("set/" + "d" * 80 + "/" + "f" * 60, b"x" * 600)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("set/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    # Without the zeros that fill the last 10 kB, but for the two blocks of them that end an archive.
    content = file.getvalue().rstrip(bytes(1))
    (HERE / "tar" / "small").write_bytes(content + bytes(-len(content) % 512 + 1024))


def text_seeds():
    context = {"processor": "P", "instruction_sets": "avx2", "version": "1", "commit": "c", "date": "2026-01-02T03:04:05Z"}
    records = {
        "size": {"model": "m", "format": "onnx", "file_bytes": 12, "parameters": 3},
        "accuracy": {"model": "m", "engine": "pare", "precision": "int8", "data": "d", "images": 4, "top1": 50.0, "top1_low": 15.0,
                     "top1_high": 85.0, "top5": 100.0, "classes": ["a", "b"], "class_images": [2, 2], "class_correct": [1, 1]},
        "step": {"study": "s", "step": "a", "status": "ran", "cause": "first run", "seconds": 1.5}}
    for kind, fields in records.items():
        (HERE / "records" / kind).write_text(json.dumps({"kind": kind, "context": context, **fields}))
    (HERE / "recipe" / "short").write_text("prune:0.9,share=uniform+int8,range=percentile")
    (HERE / "recipe" / "toml").write_text('[[step]]\nmethod = "prune"\nsparsity = 0.9\n\n[[step]]\nmethod = "int8"\nskip = ["conv1"]\n')
    (HERE / "recipe" / "names").write_text("int8,skip=a\\;b;c\\+d+fp16")
    (HERE / "train_recipe" / "own").write_text('base = "alexnet"\nname = "n"\n[optimiser]\nlr = 5e-4\n[schedule]\nsteps = [1, 2.5]\n')
    (HERE / "train_recipe" / "assignment").write_text("schedule.steps=[1, 2.5]")
    (HERE / "study" / "small").write_text("variants = ['fp32', 'int8,skip=a']\n[latency]\nbatches = [1]\nseconds = 0.5\n"
                                          "[[net]]\nzoo = 'a'\n[[net]]\ntrain = 'b'\nset = ['c=1']\nvariants = ['fp16']\n")


def checkpoint_seeds():
    weights = F([1, 2, 3]).tobytes()
    tensors = [{"name": "w", "type": "float32", "shape": [3], "offset": 0, "hash": xxhash.xxh3_128_hexdigest(weights)},
               {"name": "e", "type": "int8", "shape": [0, 2], "offset": 64, "hash": xxhash.xxh3_128_hexdigest(b"")}]
    header = json.dumps({"state": {"epoch": 1}, "tensors": tensors}).encode()
    file = b"PARECKPT" + struct.pack("<Q", len(header)) + xxhash.xxh3_128_hexdigest(header).encode() + header
    (HERE / "checkpoint" / "two").write_bytes(file + bytes(-len(file) % 64) + weights + bytes(-len(weights) % 64))


if __name__ == "__main__":
    for name in ("onnx", "safetensors", "image", "packed_images", "cifar", "tar", "records", "recipe", "train_recipe", "study",
                 "checkpoint"):
        (HERE / name).mkdir(parents=True, exist_ok=True)
    onnx_seeds()
    for name in ("storage_raw.onnx", "storage_typed.onnx"):  # every element type (make_onnx.py)
        shutil.copy(HERE.parent.parent / "fixtures" / "onnx" / name, HERE / "onnx" / name.removesuffix(".onnx"))
    safetensors_seeds()
    data_seeds()
    text_seeds()
    checkpoint_seeds()
