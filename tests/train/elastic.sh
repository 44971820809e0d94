#!/usr/bin/env bash
# torchrun starts the ranks, one of them is killed, and what torchrun starts again goes on from the last checkpoint.
#   elastic.sh PARE TORCHRUN
set -euo pipefail
pare=$(realpath "$1")
torchrun=$2
[ -x "$torchrun" ] || { echo "elastic: skipped, for there is no torchrun (-DPARE_TORCHRUN=...)"; exit 77; }
. "$(dirname "$(realpath "$0")")"/photos.sh
folder=$(mktemp -d)
trap '[ -z "${launcher:-}" ] || kill -9 "$launcher" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
make_photos
"$torchrun" --standalone --no-python --nproc-per-node 2 --max-restarts 1 "$pare" train --threads 1 --model vit-seed \
  --data photos --epochs 60 --batch-size 16 --set train.validate_every=0 --out run >out 2>err &
launcher=$!
for ((i = 0; i < 600; i++)); do
  [ ! -e run/checkpoint.pare-train ] || break
  sleep 0.1
done
[ -e run/checkpoint.pare-train ] || { echo "no checkpoint:"; cat err; exit 1; }
# The rank whose environment says so.
for process in /proc/[0-9]*; do
  { variables=$(tr '\0' '\n' <"$process/environ"); } 2>/dev/null || continue
  if grep -qx "RANK=1" <<<"$variables" && [ "$(readlink "$process/cwd")" = "$PWD" ]; then
    kill -9 "${process#/proc/}"; break
  fi
done
wait "$launcher" || { echo "torchrun failed:"; cat err; exit 1; }
launcher=
for text in "stopped, for rank 1 of 2 on " "going on after step"; do
  grep -q "$text" err || { echo "nobody says '$text':"; cat err; exit 1; }
done
grep -q "^weights hash" out
[ -e run/model.onnx ]
echo "elastic: restarted and finished"
