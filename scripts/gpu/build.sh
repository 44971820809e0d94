#!/bin/sh
# Builds the program, its GPU part and the GPU tests on a machine with a GPU and nvcc. Interrupted, it goes on where it was.
set -eu
cd "$(dirname "$0")/../.."
scripts/fetch-torch.sh
scripts/gpu/fetch-cuda.sh
cmake --preset release -DPARE_CUDA=ON
cmake --build --preset release -j "$(nproc)" --target pare pare_cuda_module gpu_tests train_executor_test bench_train_gpu
