#!/usr/bin/env bash
# What training by several ranks costs and gives on this machine: images a second, scaling efficiency, bytes on the
# wire, and how much of the sums hides behind the backward pass. Each rank has one thread, on a core of its own, and
# a network namespace of its own (scripts/ranks-netns.sh); the work of a rank stays the same (weak scaling).
#   scripts/bench-ranks.sh PARE [MODEL [IMAGES-A-RANK [RATE...]]]
# RATE: of each rank's wire, as tc knows it (1gbit), or none. Rounds alternate between all cases; the best of each
# counts, for whatever else the machine does only takes time away. ROUNDS (3) and RANKS ("1 2") are environment.
set -euo pipefail
pare=$(realpath "$1")
model=${2:-alexnet} images=${3:-64}
shift $(( $# < 3 ? $# : 3 ))
rates=("${@:-none}")
rounds=${ROUNDS:-3} sizes=${RANKS:-1 2}
here=$(dirname "$(realpath "$0")")
photo=$(realpath "$here/../tests/fixtures/data/images/photo.png")
netns=$here/ranks-netns.sh
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cd "$folder"

steps=12
# one SIZE RATE: a line "SIZE RATE images/s MB-of-gradients-a-step MB-sent-a-step busy-ms exposed-ms"
one() {
  local size=$1 rate=$2 batch=$(( $1 * images )) shaping=()
  [ "$rate" = none ] || shaping=(--rate "$rate")
  rm -rf run data
  mkdir -p data/{train,val}/{a,b}
  for ((i = 0; i < steps * batch / 2; i++)); do
    ln -s "$photo" "data/train/a/$i.png"; ln -s "$photo" "data/train/b/$i.png"
  done
  ln -s "$photo" data/val/a/1.png; ln -s "$photo" data/val/b/1.png
  "$netns" "${shaping[@]}" "$size" sh -c 'exec taskset -c "$RANK" "$0" "$@"' "$pare" train --threads 1 --model "$model" \
    --data data --set data.image_size=32 --batch-size "$batch" --epochs 1 \
    --set train.validate_every=0 --set checkpoint.epochs=0 --set checkpoint.minutes=0 --set ema.decay=0 \
    --set train.precision=float32 --out run --json >out 2>err || { cat out err >&2; exit 1; }
  sed -n '/^{/,/^}/p' out >result.json
  awk -v size="$size" -v rate="$rate" -v batch="$batch" '
    function value(line) { sub(/.*: /, "", line); sub(/,$/, "", line); return line }
    /"seconds":/ { seconds = value($0) } /"steps":/ { if (!steps || !($0 ~ /^    /)) steps = value($0) }
    /"bytes":/ { bytes = value($0) } /"busy_s":/ { busy = value($0) } /"exposed_s":/ { exposed = value($0) }
    /^rank [0-9]+: / { if ($3 > sent) sent = $3 }
    END { printf "%s %s %.1f %.1f %.1f %.1f %.1f\n", size, rate, steps * batch / seconds, bytes / steps / 1e6,
                 (size > 1 ? sent / steps / 1e6 : 0), 1e3 * busy / steps, 1e3 * exposed / steps }' result.json out
}

for ((round = 0; round < rounds; round++)); do
  for size in $sizes; do
    for rate in "${rates[@]}"; do
      [ "$size" != 1 ] || [ "$rate" = "${rates[0]}" ] || continue
      one "$size" "$rate" | tee -a lines >&2
    done
  done
done
echo "$model, $images images a rank and step, one thread a rank, float32; best of $rounds rounds"
echo "ranks  wire    images/s  efficiency  gradients MB  sent MB  sums ms  of them exposed"
sort -k1,1n -k2,2 -k3,3nr lines | awk '
  !seen[$1 " " $2]++ {
    if ($1 == 1) alone = $3
    printf "%5d  %-6s  %8.1f  %9.1f%%  %12.1f  %7.1f  %7.1f  %7.1f ms\n", $1, $2, $3, 100 * $3 / ($1 * alone), $4, $5, $6, $7
  }'
