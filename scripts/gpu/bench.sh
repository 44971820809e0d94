#!/bin/sh
# The table of speeds beside PyTorch on the same GPU: batches of 1, 64 and 1024 of each model in each precision, taking turns.
#
#   scripts/gpu/bench.sh [RECORDS [MODEL...]]      runs/gpu.jsonl alexnet vit-seed
#
# PARE_PEERS_PYTHON: a Python with torch and onnx (peers/setup makes build/peers).
set -eu
cd "$(dirname "$0")/../.."
records=${1:-runs/gpu.jsonl}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- alexnet vit-seed
mkdir -p "$(dirname "$records")"
for precision in float32 tf32 float16 bfloat16; do
  for model in "$@"; do
    "${PARE_BUILD:-build/release}/pare" bench "$model" --device cuda --precision "$precision" --batch 1,64,1024 \
      --images 1024 --seconds 2 --peers --records "$records"
  done
done
