"""alexnet and vit-seed as PyTorch modules, with the weights of an ONNX file that Pare wrote.

PyTorch reads no ONNX; these two nets are rebuilt by hand and filled by the names of the file's
initialisers. Any other file is refused by name rather than run through an interpreter whose
overhead would be counted as PyTorch's.
"""

import numpy
import onnx
import onnx.numpy_helper
import torch
import torch.nn.functional as F
from torch import nn

import engines


class File:
    """Initialisers by name, and what the graph does to the pixels before the first layer."""

    def __init__(self, path):
        graph = onnx.load(path).graph
        self.graph = graph
        self.tensors = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        self.readers = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, node)

    def tensor(self, name):
        value = self.tensors[name]
        if value.dtype not in (numpy.float32, numpy.float16):
            raise engines.Refused(f"PyTorch: {name} is {value.dtype}, expected floats")
        return torch.from_numpy(value.astype(numpy.float32))

    def matrix(self, name):
        """A dense layer's weights as [out, in]."""
        node = self.readers[name]
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        value = self.tensor(name)
        return value if node.op_type == "Gemm" and transposed else value.T.contiguous()

    def pixels(self):
        """(scale, shift): what Cast, Mul and Add make of a pixel; broadcast over NCHW."""
        scale, shift = torch.ones(1), torch.zeros(1)
        value = self.graph.input[0].name
        while True:
            node = self.readers[value]
            if node.op_type in ("Mul", "Add"):
                other = node.input[1] if node.input[0] == value else node.input[0]
                constant = self.tensor(other)
                if node.op_type == "Mul":
                    scale, shift = scale * constant, shift * constant
                else:
                    shift = shift + constant
            elif node.op_type != "Cast":
                return scale, shift
            value = node.output[0]


class Pixels(nn.Module):
    def __init__(self, file):
        super().__init__()
        scale, shift = file.pixels()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.dtype = torch.float32  # that the net computes in

    def forward(self, x):
        x = x.to(self.dtype) * self.scale + self.shift
        return x.contiguous(memory_format=torch.channels_last)


def convolution(file, name, **options):
    weight = file.tensor(name + ".weight")
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), **options)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = nn.Parameter(file.tensor(name + ".bias"), requires_grad=False)
    return layer


def linear(file, name):
    weight = file.matrix(name + ".weight")
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = nn.Parameter(file.tensor(name + ".bias"), requires_grad=False)
    return layer


def layer_norm(file, name):
    weight = file.tensor(name + ".weight")
    layer = nn.LayerNorm(len(weight), eps=1e-6)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = nn.Parameter(file.tensor(name + ".bias"), requires_grad=False)
    return layer


def alexnet(file):
    return nn.Sequential(
        Pixels(file),
        convolution(file, "conv1"), nn.ReLU(), nn.MaxPool2d(3, 2),
        convolution(file, "conv2", padding=2), nn.ReLU(), nn.MaxPool2d(2, 2),
        convolution(file, "conv3", padding=1), nn.ReLU(),
        convolution(file, "conv4", padding=1), nn.ReLU(),
        convolution(file, "conv5", padding=1), nn.ReLU(), nn.MaxPool2d(2, 2),
        nn.Flatten(),
        linear(file, "fc6"), nn.ReLU(), linear(file, "fc7"), nn.ReLU(), linear(file, "fc8"))


class Block(nn.Module):
    HEADS = 4

    def __init__(self, file, name):
        super().__init__()
        self.norm1 = layer_norm(file, name + ".norm1")
        self.qkv = linear(file, name + ".attn.qkv")
        self.proj = linear(file, name + ".attn.proj")
        self.norm2 = layer_norm(file, name + ".norm2")
        self.fc1 = linear(file, name + ".mlp.fc1")
        self.fc2 = linear(file, name + ".mlp.fc2")

    def forward(self, x):
        images, tokens, _ = x.shape
        parts = self.qkv(self.norm1(x)).reshape(images, tokens, 3, self.HEADS, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(y.transpose(1, 2).reshape(images, tokens, -1))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class VitSeed(nn.Module):
    def __init__(self, file):
        super().__init__()
        self.pixels = Pixels(file)
        self.patch_embed = convolution(file, "patch_embed", stride=6)
        self.positions = file.tensor("pos_embed")
        self.blocks = nn.Sequential(*[Block(file, f"blocks.{i}") for i in range(8)])
        self.norm = layer_norm(file, "norm")
        self.head = nn.Sequential(
            nn.Flatten(), linear(file, "head.fc1"), nn.GELU(), linear(file, "head.fc2"), nn.GELU(),
            linear(file, "head.out"))

    def forward(self, x):
        x = self.patch_embed(self.pixels(x)).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(x)))


def from_onnx(path):
    file = File(path)
    if {"conv1.weight", "fc8.weight"} <= file.tensors.keys() and \
            file.tensors["conv1.weight"].shape == (64, 3, 11, 11) and \
            len(file.tensors["fc6.bias"]) == 4096 and file.tensors["conv2.weight"].shape[0] == 192:
        return alexnet(file)
    if {"patch_embed.weight", "blocks.7.attn.qkv.weight", "head.out.weight"} <= \
            file.tensors.keys() and "blocks.8.attn.qkv.weight" not in file.tensors:
        return VitSeed(file)
    raise engines.Refused("PyTorch reads no ONNX; only alexnet and vit-seed are rebuilt for it")
