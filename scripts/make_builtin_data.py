#!/usr/bin/env python3
"""Makes data/cifar-10-builtin/{train,test}.pimg from CIFAR-10's binary batches.

    pip install numpy zstandard xxhash
    scripts/make_builtin_data.py DIR_WITH_data_batch_1.bin data/cifar-10-builtin

Test: all images, in the order of test_batch.bin. Train: of each class the 500 images whose
record (label byte and pixels) has the smallest SHA-256, all sorted by it: the choice depends on the images alone, not on
the order in which an archive holds them.

The format is described in src/data/packed_images.h, which reads it; this script is the only
writer."""
import hashlib
import pathlib
import struct
import sys

import numpy as np
import xxhash
import zstandard

IMAGES_PER_BLOCK = 500


def read_batch(path):
    records = np.fromfile(path, np.uint8)
    if records.size == 0 or records.size % 3073:
        sys.exit(f"{path}: expected a multiple of 3073 bytes, found {records.size}")
    return records.reshape(-1, 3073)


def residuals(plane):
    """Pixel minus the median edge detector's prediction (JPEG-LS), modulo 256."""
    value = plane.astype(np.int8).astype(np.int16)
    left, up, corner = (np.zeros_like(value) for _ in range(3))
    left[:, :, 1:] = value[:, :, :-1]
    up[:, 1:, :] = value[:, :-1, :]
    corner[:, 1:, 1:] = value[:, :-1, :-1]
    up[:, 0, :] = left[:, 0, :]  # the first row knows only the left, the first column only above
    corner[:, 0, :] = left[:, 0, :]
    left[:, :, 0] = up[:, :, 0]
    corner[:, :, 0] = up[:, :, 0]
    low, high = np.minimum(left, up), np.maximum(left, up)
    guess = np.where(corner >= high, low, np.where(corner <= low, high, left + up - corner))
    return (value - guess).astype(np.uint8)


def write(path, records, classes):
    count = len(records)
    images = records[:, 1:].reshape(count, 3, 32, 32)
    red, green, blue = (images[:, c] for c in range(3))
    compressor = zstandard.ZstdCompressor(level=19, write_checksum=True)
    blocks = []
    for begin in range(0, count, IMAGES_PER_BLOCK):
        part = slice(begin, begin + IMAGES_PER_BLOCK)
        block = records[part, 0].tobytes()
        # Differences of bytes wrap around; green is shifted so that it is centred on 0.
        for plane in (green[part] - 128, red[part] - green[part], blue[part] - green[part]):
            block += residuals(plane.astype(np.uint8)).tobytes()
        blocks.append(compressor.compress(block))
    names = b"".join(struct.pack("<H", len(c)) + c for c in (c.encode() for c in classes))
    head = b"PAREIMGS" + struct.pack("<7I", 1, count, 3, 32, 32, IMAGES_PER_BLOCK, len(classes)) + names
    head += xxhash.xxh3_128_digest(records.tobytes())
    head += struct.pack(f"<{len(blocks)}I", *(len(b) for b in blocks))
    pathlib.Path(path).write_bytes(head + b"".join(blocks))
    print(path, count, "images,", len(head) + sum(map(len, blocks)), "bytes")


def main():
    source, destination = map(pathlib.Path, sys.argv[1:3])
    classes = (source / "batches.meta.txt").read_text().split()
    write(destination / "test.pimg", read_batch(source / "test_batch.bin"), classes)
    train = np.concatenate([read_batch(source / f"data_batch_{i}.bin") for i in range(1, 6)])
    order = sorted(range(len(train)), key=lambda i: hashlib.sha256(train[i].tobytes()).digest())
    taken, chosen = [0] * len(classes), []
    for i in order:
        if taken[train[i, 0]] < 500:
            taken[train[i, 0]] += 1
            chosen.append(i)
    write(destination / "train.pimg", train[chosen], classes)


if __name__ == "__main__":
    main()
