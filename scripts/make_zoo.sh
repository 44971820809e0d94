#!/usr/bin/env bash
# Makes zoo/*.pare from trained weights: a model of ours by name, its weights rounded to 8 bits a channel, packed.
#   scripts/make_zoo.sh WEIGHTS
# WEIGHTS holds alexnet.safetensors and vit-seed.safetensors. The same weights and program give the same files.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
weights=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
pare=${PARE:-build/release/pare}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
printf '%s\n' airplane automobile bird cat deer dog frog horse ship truck >"$work/classes.txt"
for model in alexnet vit-seed; do
  "$pare" import "$weights/$model.safetensors" --model "$model" --classes "$work/classes.txt" \
    --trained-on "CIFAR-10's 50,000 training images, in PyTorch" -o "$work/$model.onnx"
  "$pare" compress "$work/$model.onnx" round -o "zoo/$model.pare"
done
