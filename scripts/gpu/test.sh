#!/bin/sh
# What only a GPU can tell: every test program of the GPU that is built, with a summary of what ran. A test that was skipped counts
# as failed here: the GPU was not found.
set -eu
cd "$(dirname "$0")/../.."
build=${PARE_BUILD:-build/release}
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
failed=0
ran=0
run() {
  program=$1
  shift
  [ -x "$program" ] || return 0
  log=$(mktemp)
  "$program" "$@" >"$log" 2>&1 || failed=1
  grep -E '^\[  (FAILED|SKIPPED|variant)|Failure|error:' "$log" || true
  if grep -q SKIPPED "$log"; then failed=1; fi
  passed=$(grep -cE '^\[       OK' "$log" || true)
  echo "$(basename "$program"): $passed tests passed"
  ran=$((ran + passed))
  rm -f "$log"
}
run "$build/tests/gpu/gpu_kernels_test"
run "$build/tests/gpu/gpu_nets_test"
run "$build/src/train/train_executor_test" '--gtest_filter=Gpu.*:GpuPart.*'
echo "$ran GPU tests passed"
if [ "$failed" -ne 0 ] || [ "$ran" -eq 0 ]; then
  echo "test.sh: something failed, or the GPU was not used (see above)" >&2
  exit 1
fi
