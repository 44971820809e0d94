#!/bin/sh
# Builds the program and the training tests on a machine with a GPU. Interrupted, it goes on where it was.
set -eu
cd "$(dirname "$0")/../.."
scripts/fetch-torch.sh
scripts/gpu/fetch-cuda.sh
cmake --preset release
cmake --build --preset release -j "$(nproc)" --target pare train_executor_test bench_train_gpu
