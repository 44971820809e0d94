#!/usr/bin/env bash
# What every command says to bad input: one line on stderr that names what is wrong, exit code 1 or 2, and nothing left
# behind.
#   bad_input.sh PARE SOURCE
set -euo pipefail
pare=$(realpath "$1"); source=$(realpath "$2")
folder=$(mktemp -d); trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
cp "$source/tests/fuzz/corpus/onnx/conv_bn" good.onnx
"$pare" pack good.onnx -o good.pare >/dev/null
failures=0

# expect CODE TEXT ARGUMENT...: this exit code, one line on stderr that holds TEXT, no new file.
expect() {
  local code=$1 text=$2 found=0 before after
  shift 2
  before=$(ls -A)
  timeout 60 "$pare" "$@" >/dev/null 2>"$folder.err" </dev/null || found=$?
  after=$(ls -A)
  if [ "$found" != "$code" ] || ! grep -qF -- "$text" "$folder.err" || [ "$(wc -l <"$folder.err")" != 1 ]; then
    echo "pare $*: exit $found, expected $code and one line with '$text'; it said:"; cat "$folder.err"; failures=$((failures + 1))
  fi
  if [ "$before" != "$after" ]; then echo "pare $*: the folder had $before, now has $after"; failures=$((failures + 1)); fi
  rm -f "$folder.err"
}
commands=$("$pare" --help)
has() { grep -q "^  $1 " <<<"$commands"; }

# The command line itself.
expect 2 "which command"
expect 2 "did you mean summary" sumary
expect 2 "no option is called --nope" models --nope
expect 2 "did you mean --model" import good.onnx --modle alexnet -o out.onnx
expect 2 "input is required" import -o out.onnx
expect 2 "--classes: expected a whole number from 1 to 16777216, found 'x'" summary alexnet --classes x
expect 2 "--mean: expected a number, found 'grey'" import good.onnx --mean 0.5,grey --std 1 -o out.onnx
if has bench; then
  expect 2 "--batch: expected a whole number from 1 to 65536, found 'x'" bench good.onnx --batch 1,x
  expect 2 "--seconds: expected a number from 0 to 100000, found 'long'" bench good.onnx --seconds long
fi
if has explain; then
  expect 2 "nothing measured without --time" explain good.onnx --records times.jsonl
  expect 2 "did you mean --against" explain good.onnx --agianst good.onnx
  expect 2 "--seconds: expected a number" explain good.onnx --time --seconds soon
fi
if has diff; then
  expect 2 "--engine" diff good.onnx --engine tensorflow
  expect 2 "among Pare's own kernels" diff good.onnx --engine openvino --reference
fi
if has tune-kernels; then
  expect 2 "--output is required" tune-kernels good.onnx
  expect 2 "expected an output ending in .onnx or .pare" tune-kernels good.onnx -o out.txt
  expect 1 "missing.onnx" tune-kernels missing.onnx -o out.onnx
fi
if has compress; then
  expect 2 "did you mean --no-prediction" compress good.onnx fp16 -o out.onnx --no-predicton
  expect 2 "--seed: expected a whole number" compress good.onnx fp16 -o out.onnx --seed=-1
fi

if has sensitivity; then
  expect 2 "measured of one step" sensitivity good.onnx equalise+int4
  expect 2 "did you mean 'int4'" sensitivity good.onnx in4
  expect 2 "--images: expected a whole number" sensitivity good.onnx --images 0
  expect 1 "missing.onnx" sensitivity missing.onnx
fi

# Model files: missing, cut, changed, of another kind, hostile.
: >empty.onnx; : >empty.pare
head -c 300 good.onnx >cut.onnx
head -c 300 good.pare >cut.pare
head -c 4096 /dev/urandom >noise.onnx
head -c 4096 /dev/urandom >noise.pare
{ head -c 100 good.pare; printf 'XXXX'; tail -c +105 good.pare; } >changed.pare
mkdir folder.onnx
# A safetensors header that claims 2^60 bytes, and a tensor of 2^62 elements.
printf '\0\0\0\0\0\0\0\020{}' >huge.safetensors
printf '\100\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}' >wide.safetensors
for file in missing.onnx missing.pare empty.onnx empty.pare cut.onnx cut.pare noise.onnx noise.pare changed.pare folder.onnx; do
  expect 1 "$file" summary "$file"
  expect 1 "$file" import "$file" -o out.onnx
  expect 1 "$file" pack "$file" -o out.pare
  if has eval; then expect 1 "$file" eval "$file"; fi
  if has bench; then expect 1 "$file" bench "$file"; fi
  if has run; then expect 1 "$file" run "$file" "$source/tests/fixtures/data/images/photo.png"; fi
  if has compress; then expect 1 "$file" compress "$file" fp16 -o out.onnx; fi
done
for file in missing.safetensors huge.safetensors wide.safetensors; do
  expect 1 "$file" import "$file" --model alexnet -o out.onnx
done
expect 2 "model.txt" summary model.txt
mkdir photos
for command in "summary photos" "pack photos -o out.pare" "import photos -o out.onnx"; do
  # shellcheck disable=SC2086
  expect 1 "photos: expected a model file ending in .onnx or .pare, found a folder" $command
done
if has eval; then expect 1 "photos: expected a model file" eval photos; fi
if has bench; then expect 1 "missing.onnx: no such file" bench good.onnx missing.onnx; fi
expect 2 "out.txt" import good.onnx -o out.txt

# Where results cannot go.
expect 1 "nowhere/out.onnx: there is no folder nowhere" import good.onnx -o nowhere/out.onnx
expect 1 "nowhere/out.pare: there is no folder nowhere" pack good.onnx -o nowhere/out.pare
expect 1 "nowhere/out.onnx: there is no folder nowhere" unpack good.pare -o nowhere/out.onnx
expect 1 "nowhere/out.html: there is no folder nowhere" report missing.jsonl -o nowhere/out.html
if has compress; then
  expect 1 "nowhere/out.onnx: there is no folder nowhere" compress good.onnx fp16 -o nowhere/out.onnx
fi
expect 1 "good.onnx/out.pare" pack good.onnx -o good.onnx/out.pare
if [ "$(id -u)" != 0 ]; then
  mkdir locked; chmod a-w locked
  expect 1 "locked/out.pare" pack good.onnx -o locked/out.pare
fi

# Images.
if has run; then
  head -c 200 "$source/tests/fixtures/data/images/photo.png" >cut.png
  for image in missing.png cut.png good.onnx; do expect 1 "$image" run good.pare "$image"; done
fi

# Data.
if has eval; then
  mkdir cifar folders folders/a
  head -c 5000 /dev/zero >cifar/test_batch.bin
  printf "%s\n" a b c d e f g h i j >cifar/batches.meta.txt
  expect 1 "nodata: no such folder" eval good.onnx --data nodata
  expect 1 "good.pare: expected a folder of images, found a file" eval good.onnx --data good.pare
  expect 1 "test_batch.bin" eval good.onnx --data cifar
fi

# Recipes.
if has compress; then
  expect 2 "int8" compress good.onnx in8 -o out.onnx
  expect 2 "sparsity" compress good.onnx prune:1.5 -o out.onnx
  expect 1 "missing.toml" compress good.onnx missing.toml -o out.onnx
  printf '[[step]]\nmethod = int8\n' >broken.toml
  expect 2 "broken.toml" compress good.onnx broken.toml -o out.onnx
fi

# Records.
echo '{"kind":"size"}' >broken.jsonl
printf '{"a":\n{}\n' >cut.jsonl
expect 1 "missing.jsonl" report missing.jsonl -o out.html
: >none.jsonl
expect 1 "none.jsonl: no records in it" report none.jsonl -o out.html
expect 1 "none.jsonl: no records in it" report none.jsonl --tables
printf '%s\n' '{"kind":"epoch","context":{"processor":"p","instruction_sets":"i","version":"v","commit":"c","date":"d"},
"run":"r","net":"n","data":"d","epoch":1,"epochs":1,"train_loss":1.0,"learning_rate":0.1,"images":9,"seconds":1.0}' |
  tr -d '\n' >epochs.jsonl
echo >>epochs.jsonl
expect 1 "epochs.jsonl: the tables are of measured models (accuracy, latency, size); found 1 epoch records" \
  report epochs.jsonl --tables
expect 1 "broken.jsonl:1" report broken.jsonl -o out.html
expect 1 "cut.jsonl:1" report cut.jsonl -o out.html

[ "$failures" = 0 ] || { echo "$failures answers are not as they should be"; exit 1; }
echo "bad input: answered in one line each"
