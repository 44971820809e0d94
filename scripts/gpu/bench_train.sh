#!/bin/sh
# A training step of exact AlexNet on this GPU, ours against PyTorch's torch.compile by the same recipe,
# taking turns; prints the times of all turns and the ratio of the medians. PyTorch (2.11, with CUDA) must
# be importable by $PYTHON.
#
#   scripts/gpu/bench_train.sh [TURNS [BATCH]]      3 1024; MODES: of torch.compile
set -eu
cd "$(dirname "$0")/../.."
turns=${1:-3}
batch=${2:-1024}
python=${PYTHON:-python3}
modes=${MODES:-default reduce-overhead}
bench=${BENCH:-build/release/src/train/bench_train_gpu}
times=$(mktemp)
trap 'rm -f "$times"' EXIT
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
for turn in $(seq "$turns"); do
  "$bench" alexnet "$batch" 400 model.dropout=0.2 | tee -a "$times"
  for mode in $modes; do
    "$python" peers/torch_train_step.py --batch "$batch" --steps 200 --mode "$mode" | tee -a "$times"
  done
done
"$python" - "$times" <<'PY'
import collections
import re
import statistics
import sys

found = collections.defaultdict(list)
for line in open(sys.argv[1]):
    ms = float(re.search(r"([\d.]+) ms a step", line).group(1))
    found[line.split()[2] if line.startswith("torch") else "ours"].append(ms)
ours = statistics.median(found.pop("ours"))
for mode, values in found.items():
    theirs = statistics.median(values)
    print(f"ours {ours:.3f} ms, torch.compile ({mode}) {theirs:.3f} ms: ratio {ours / theirs:.3f}")
PY
