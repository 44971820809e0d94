"""Training steps of exact AlexNet (with batch norm) or of a wide ResNet under PyTorch, by the recipe
that `bench_train_gpu` times: bfloat16 autocast, channels-last, SGD with Nesterov momentum, EMA,
crop, flip and cutout on the GPU, the images resident as uint8.

    python peers/torch_train_step.py [--batch 1024] [--steps 100] [--mode default] [--teacher]

Modes: eager, default, reduce-overhead, max-autotune (of torch.compile). The forward and backward
pass and the augmentation are compiled, the optimiser is PyTorch's fused one. With --teacher a
wrn-16-8 in inference mode adds its soft answers (temperature 4, weight 0.9).
"""

import argparse
import time

import torch
import torch.nn.functional as F
from torch import nn

IMAGES = 50000
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
FILL = (125, 123, 114)


def conv(i, o, k, p=0):
    return [nn.Conv2d(i, o, k, padding=p), nn.BatchNorm2d(o), nn.ReLU(inplace=True)]


def dense(i, o):
    return [nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU(inplace=True), nn.Dropout(0.2)]


def alexnet():
    return nn.Sequential(
        *conv(3, 64, 11), nn.MaxPool2d(3, 2), *conv(64, 192, 5, 2), nn.MaxPool2d(2, 2),
        *conv(192, 384, 3, 1), *conv(384, 256, 3, 1), *conv(256, 256, 3, 1), nn.MaxPool2d(2, 2),
        nn.Flatten(), *dense(1024, 4096), *dense(4096, 4096), nn.Linear(4096, 10))


class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(i), nn.BatchNorm2d(o)
        self.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.skip = nn.Conv2d(i, o, 1, stride, bias=False) if i != o or stride != 1 else None

    def forward(self, x):
        y = F.relu(self.bn1(x))
        short = x if self.skip is None else self.skip(y)
        return short + self.conv2(F.relu(self.bn2(self.conv1(y))))


def wide_resnet(depth=16, width=8):
    widths = [16, 16 * width, 32 * width, 64 * width]
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)]
    for stage in range(3):
        for k in range((depth - 4) // 6):
            i = widths[stage] if k == 0 else widths[stage + 1]
            layers.append(Block(i, widths[stage + 1], 2 if k == 0 and stage > 0 else 1))
    return nn.Sequential(*layers, nn.BatchNorm2d(widths[3]), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(widths[3], 10))


class Augment:
    """Crop by 4, flip and cutout of 8, as gathers over whole batches."""

    def __init__(self, device):
        self.fill = torch.tensor(FILL, dtype=torch.uint8, device=device).view(1, 3, 1, 1)
        self.scale = 1 / (255 * torch.tensor(STD, device=device)).view(1, 3, 1, 1)
        self.shift = (-torch.tensor(MEAN, device=device) / torch.tensor(STD, device=device)).view(1, 3, 1, 1)
        self.line = torch.arange(32, device=device)

    def __call__(self, images, positions):
        n = positions.shape[0]
        device = images.device
        dx, dy = torch.randint(-4, 5, (2, n, 1), device=device)
        flip = torch.rand(n, 1, device=device) < 0.5
        xs = torch.where(flip, 31 - self.line, self.line) + dx
        ys = self.line + dy
        inside = ((ys >= 0) & (ys < 32))[:, None, :, None] & ((xs >= 0) & (xs < 32))[:, None, None, :]
        hx, hy = torch.randint(0, 32, (2, n, 1), device=device)
        hole = (((self.line - hy + 4 >= 0) & (self.line - hy < 4))[:, None, :, None]
                & ((self.line - hx + 4 >= 0) & (self.line - hx < 4))[:, None, None, :])
        at = (positions[:, None, None, None], torch.arange(3, device=device)[None, :, None, None],
              ys.clamp(0, 31)[:, None, :, None], xs.clamp(0, 31)[:, None, None, :])
        pixels = torch.where(inside & ~hole, images[at], self.fill)
        return (pixels * self.scale + self.shift).to(torch.bfloat16, memory_format=torch.channels_last)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--mode", default="default")
    parser.add_argument("--net", default="alexnet", choices=["alexnet", "wrn-16-8"])
    parser.add_argument("--teacher", action="store_true")
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda")
    torch.manual_seed(0)
    net = (alexnet() if args.net == "alexnet" else wide_resnet()).to(device, memory_format=torch.channels_last)
    teacher = wide_resnet().to(device, memory_format=torch.channels_last).eval() if args.teacher else None
    decayed = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() <= 1]
    optimiser = torch.optim.SGD([{"params": decayed, "weight_decay": 1e-3}, {"params": others}], lr=1e-4,
                                momentum=0.9, nesterov=True, fused=True)
    live = [*net.parameters(), *[b for b in net.buffers() if b.is_floating_point()]]
    average = [t.detach().clone() for t in live]
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 10, (IMAGES,), device=device)
    augment = Augment(device)

    def loss_of(positions):
        pixels = augment(images, positions)
        with torch.autocast("cuda", torch.bfloat16):
            scores = net(pixels).float()
            loss = F.cross_entropy(scores, labels[positions])
            if teacher is not None:
                with torch.no_grad():
                    taught = teacher(pixels).float()
                soft = F.kl_div(F.log_softmax(scores / 4, 1), F.log_softmax(taught / 4, 1),
                                reduction="batchmean", log_target=True)
                loss = 0.1 * loss + 0.9 * 16 * soft
        return loss

    compiled = loss_of if args.mode == "eager" else torch.compile(loss_of, mode=args.mode)

    def step(positions):
        loss = compiled(positions)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        torch._foreach_lerp_(average, [t.detach() for t in live], 0.005)

    order = torch.randperm(IMAGES, device=device)
    batches = [order[i:i + args.batch] for i in range(0, IMAGES - args.batch + 1, args.batch)]
    start = time.perf_counter()
    for i in range(12):
        step(batches[i % len(batches)])
    torch.cuda.synchronize()
    first = time.perf_counter() - start
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for i in range(args.steps // 5):
            step(batches[i % len(batches)])
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / (args.steps // 5))
    best = sorted(times)[len(times) // 2]
    print(f"torch {torch.__version__} {args.mode} {args.net} batch {args.batch}"
          f"{' with teacher' if args.teacher else ''}: {1e3 * best:.3f} ms a step, "
          f"{args.batch / best:.0f} images/s, first 12 steps {first:.1f} s", flush=True)


if __name__ == "__main__":
    main()
