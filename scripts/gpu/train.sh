#!/bin/sh
# Trains by a recipe on the GPU for at most MINUTES, then saves; run again it goes on, until the run is
# finished. Its records are runs/gpu-RECIPE/records.jsonl.
#
#   scripts/gpu/train.sh [RECIPE [DATA [MINUTES]]]      wrn-16-8 cifar10 9
set -eu
cd "$(dirname "$0")/../.."
recipe=${1:-wrn-16-8}
data=${2:-cifar10}
minutes=${3:-9}
out="runs/gpu-$recipe"
if [ -e "$out/model.onnx" ]; then
  echo "$out is finished"
  exit 0
fi
if [ -e "$out/checkpoint.pare-train" ]; then
  set -- --resume --out "$out"
else
  set -- --recipe "$recipe" --data "$data" --out "$out"
fi
# As Ctrl-C does: the step is finished, everything is saved, the exit code is 1.
timeout --signal=INT "${minutes}m" build/release/pare train "$@" --device cuda
