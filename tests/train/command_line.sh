#!/usr/bin/env bash
# `pare train` says what is wrong in one line and with the right exit code, before it does anything.
#   command_line.sh PARE
set -euo pipefail
pare=$(realpath "$1")
photo=$(dirname "$(realpath "$0")")/../fixtures/data/images/photo.png
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cd "$folder"

# expect CODE TEXT ARGUMENT...: the exit code, one line on stderr that holds TEXT, nothing left behind.
expect() {
  local code=$1 text=$2 found=0
  shift 2
  "$pare" train "$@" >out 2>err || found=$?
  if [ "$found" != "$code" ] || ! grep -qF -- "$text" err || [ "$(wc -l <err)" -gt 3 ]; then
    echo "pare train $*: exit $found, expected $code and '$text'; said:"; cat err; exit 1
  fi
  rm -f out err
  if [ -n "$(ls -A)" ]; then echo "pare train $*: left $(ls -A) behind"; exit 1; fi
}
expect 2 "what to train"
expect 2 "'optimiser.lr'" --model alexnet --set optimiser.lrr=1
expect 2 "between" --model alexnet --epochs=-1
expect 2 "--epochs: train.epochs must be a number between 0 and 1000000, found 'three'" --model alexnet --epochs three
expect 2 "--set: train.epochs must be a number" --model alexnet --set train.epochs=three
expect 2 "--threads: expected a whole number from 0 to 1024, found 'x'" --model alexnet --threads x
expect 2 "no model is called" --model alexnett
expect 1 "no recipe 'nosuch'" --recipe nosuch
expect 2 "--out" --resume
expect 1 "nowhere: no run to go on with: there is no such folder" --resume --out nowhere
expect 1 "/dev: expected a model file ending in .onnx or .pare, found a folder" --model /dev
expect 1 "$pare: expected a folder of images, found a file" --model alexnet --data "$pare"
expect 1 "missing.onnx" --model missing.onnx
expect 1 "nodata" --model alexnet --data nodata
expect 1 "no recipe 'nosuch'" --model alexnet --teacher recipe:nosuch
expect 1 "noteacher" --model vit-seed --teacher noteacher --train-fraction 0.01
printf '[optimiser]\nlr = "fast"\n' >"$folder.toml"
expect 2 "$folder.toml:2" --model alexnet --recipe "$folder.toml"
rm "$folder.toml"

# expect_alone CODE TEXT ARGUMENT...: the same, and nothing but the error was said.
expect_alone() {
  "$pare" train "${@:3}" >out 2>err || true
  if [ "$(wc -l <err)" != 1 ]; then echo "pare train ${*:3}: said more than its error:"; cat err; exit 1; fi
  rm -f out err
  expect "$@"
}
mkdir -p "$folder.run" "$folder.two"/{train,test}/{a,b}; touch "$folder.run/model.onnx"
for part in train test; do
  for class in a b; do cp "$photo" "$folder.two/$part/$class/"; done
done
expect_alone 2 "holds a training run already" --model alexnet --out "$folder.run"
expect_alone 1 "expected a folder" --model alexnet --out "$folder.run/model.onnx/run"
expect_alone 2 "the teacher has 10 classes, the data 2" --model vit-seed --teacher alexnet --data "$folder.two"
rm -r "$folder.run" "$folder.two"
# Into a file: grep -q would leave the writer with a closed pipe.
"$pare" train --model vit-ti/4 --show-recipe >out; grep -q 'name = "vit-ti/4"' out
"$pare" train --fields >out; grep -q '^augment.cutmix_alpha ' out

# Not only refusals: a whole run, `pare` found by way of $PATH and a link; and a recipe that fine-tunes.
mkdir -p bin photos/{train,val}/{a,b}
ln -s "$pare" bin/pare
for class in photos/*/*; do cp "$photo" "$class/1.png"; cp "$photo" "$class/2.png"; done
PATH=$PWD/bin:$PATH
pare train --model vit-seed --data photos --epochs 1 --batch-size 2 --out run >out 2>err || { cat err; exit 1; }
grep -q '^trained  *2 steps' out || { cat out; exit 1; }

# A teacher that is trained first; and a run that was stopped while it was, which goes on with it.
printf 'base = "speedrun"\nname = "small"\n[model]\nwhiten_images = 4\n[train]\nepochs = 1\nbatch_size = 2\n' >small.toml
pare train --model vit-seed --data photos --epochs 1 --batch-size 2 --teacher recipe:small.toml --out taught >out 2>err || { cat err; exit 1; }
grep -q '^first its teacher: speedrun by recipe small, into taught/teacher' err || { cat err; exit 1; }
grep -q '^known  *[0-9.]* s after the program was started' out || { cat out; exit 1; }
cp -r taught stopped; rm stopped/model.onnx stopped/checkpoint.pare-train
pare train --resume --out stopped >out2 2>err || { cat err; exit 1; }
if grep -q 'first its teacher' err; then cat err; exit 1; fi
[ "$(grep '^weights hash' out)" = "$(grep '^weights hash' out2)" ] || { cat out out2; exit 1; }

bin/pare compress run/model.onnx finetune:1 --data photos --device cpu -o tuned.pare >out 2>err || { cat err; exit 1; }
grep -q '^finetune:1: ' out || { cat out; exit 1; }
echo "command line: all as documented"
