#!/bin/sh
# What only a GPU can tell. A test that was skipped counts as failed here: the GPU was not found.
set -eu
cd "$(dirname "$0")/../.."
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
out=$(build/release/src/train/train_executor_test --gtest_filter='Gpu.*:GpuPart.*') || { echo "$out"; exit 1; }
echo "$out"
if echo "$out" | grep -q SKIPPED; then
  echo "test.sh: the GPU was not used (see above)" >&2
  exit 1
fi
