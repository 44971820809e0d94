#!/usr/bin/env bash
# `pare train` as several ranks: one result, one voice, errors with names; stopped by SIGTERM and gone on with.
#   ranks.sh PARE
set -euo pipefail
pare=$(realpath "$1")
folder=$(mktemp -d)
. "$(dirname "$(realpath "$0")")"/photos.sh
pids=()
trap 'for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done; rm -rf "$folder"' EXIT
cd "$folder"

# start SIZE ARGUMENT...: `pare train ARGUMENT...` by so many ranks, with out.R and err.R; sets pids.
start() {
  local size=$1 port=$((21000 + RANDOM % 8000))
  shift; pids=()
  for ((r = 0; r < size; r++)); do
    RANK=$r WORLD_SIZE=$size LOCAL_RANK=$r MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
      "$pare" train --threads 1 "$@" >"out.$r" 2>"err.$r" &
    pids+=($!)
  done
}
# finish CODE: all ranks end with it.
finish() {
  for pid in "${pids[@]}"; do
    local found=0
    wait "$pid" || found=$?
    [ "$found" = "$1" ] || { echo "a rank ended with $found instead of $1:"; cat err.*; exit 1; }
  done
  pids=()
}
says() { grep -qF -- "$2" "$1" || { echo "$1 does not say '$2':"; cat "$1"; exit 1; }; }

make_photos
small=(--model resnet18 --data photos --epochs 1 --batch-size 6 --set data.image_size=32 --set optimiser.lr=0.01
       --set augment.cutmix_alpha=1 --set augment.mix_probability=0.5)
"$pare" train --threads 1 "${small[@]}" --out one >out.alone 2>&1
start 2 "${small[@]}" --out two
finish 0
says err.0 "2 ranks, started by torchrun"
says out.0 "ranks         2, "
[ ! -s out.1 ] && [ ! -s err.1 ] || { echo "rank 1 speaks:"; cat out.1 err.1; exit 1; }
[ "$(wc -l <two/records.jsonl)" = 1 ]
loss() { sed -n 's/.*"train_loss":\([0-9.]*\).*/\1/p' "$1/records.jsonl"; }
awk -v a="$(loss one)" -v b="$(loss two)" 'BEGIN { d = a > b ? a - b : b - a; exit !(a > 0 && d < 1e-3 * a) }' ||
  { echo "loss $(loss one) alone, $(loss two) with two ranks"; exit 1; }

start 2 --model vit-seed --data photos --batch-size 3 --out thin
finish 2
for r in 0 1; do says "err.$r" "batches of 3 images cannot be shared out among 2 ranks"; done
start 2 --resume --out nowhere
finish 1
says err.1 "rank 0 of 2 on "
says err.1 "nowhere: no run to go on with"
RANK=5 WORLD_SIZE=4 MASTER_ADDR=x "$pare" train --model alexnet 2>err || true
says err "RANK must be a whole number from 0 to 3, found '5'"

# All stop together where one is asked to, and another number of them goes on.
start 3 --model vit-seed --data photos --epochs 100000 --batch-size 16 --set train.validate_every=0 --out long
while ! grep -q '"event":"start"' long/log.jsonl 2>/dev/null; do sleep 0.1; done
sleep 1
kill -TERM "${pids[1]}"
wait "${pids[0]}" && { echo "rank 0 ended as if all were done"; exit 1; }
says err.0 "all saved; go on with: pare train --resume --out long"
for r in 1 2; do wait "${pids[$r]}" || { cat "err.$r"; exit 1; }; done
pids=()
start 2 --resume --out long
while ! grep -q "going on after step" err.0; do sleep 0.1; done
says err.0 "ranks than before"
kill -TERM "${pids[@]}"
for pid in "${pids[@]}"; do wait "$pid" || true; done
pids=()
echo "ranks: all as documented"
