#!/usr/bin/env bash
# Makes zoo/*.pare from trained nets, their weights rounded to 8 bits a channel, packed.
#   scripts/make_zoo.sh WEIGHTS
# WEIGHTS holds alexnet.pare or alexnet.onnx, as `pare train --recipe alexnet-gpu` makes it (any precision), and vit-seed.safetensors.
# The same weights and program give the same files.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
weights=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
pare=${PARE:-build/release/pare}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
alexnet=$weights/alexnet.pare
[ -e "$alexnet" ] || alexnet=$weights/alexnet.onnx
"$pare" compress "$alexnet" round -o zoo/alexnet.pare
printf '%s\n' airplane automobile bird cat deer dog frog horse ship truck >"$work/classes.txt"
"$pare" import "$weights/vit-seed.safetensors" --model vit-seed --classes "$work/classes.txt" \
  --trained-on "CIFAR-10's 50,000 training images, in PyTorch" -o "$work/vit-seed.onnx"
"$pare" compress "$work/vit-seed.onnx" round -o zoo/vit-seed.pare
