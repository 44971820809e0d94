#!/usr/bin/env bash
# `pare compress` from import to packed file, on an exported net and the built-in images; then what it refuses, in one
# line, with nothing left behind.
#   command_line.sh PARE SOURCE TRAINS
set -euo pipefail
pare=$(realpath "$1"); source=$(realpath "$2"); trains=$3
export PARE_HOME=$source
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cd "$folder"
fail() { echo "$*"; exit 1; }

"$pare" import "$source/tests/fixtures/onnx/residual_dynamo.onnx" --mean 0.5 --std 0.25 -o net.onnx >/dev/null

# Where data goes unnamed, what is looked at is said; the file keeps recipe and images.
"$pare" compress net.onnx int8 -o int8.onnx --calibration-images 64 >out 2>err
grep -q '^no --data given, so this looks at 5,000 built-in training images' err || fail "the built-in images go unmentioned"
grep -q '64 images drawn for calibration (seed 0) from: 5,000 built-in' err || fail "calibration is not described: $(cat err)"
grep -q '^int8: .* weights in int8' out || fail "no summary: $(cat out)"
grep -aq 'built-in training images' int8.onnx || fail "the file does not say what it was calibrated on"

# The same bytes again, with other threads; other bytes with another seed.
"$pare" compress net.onnx int8 -o again.onnx --calibration-images 64 --threads 3 2>/dev/null >out
cmp int8.onnx again.onnx
"$pare" compress net.onnx int8 -o other.onnx --calibration-images 64 --seed 1 2>/dev/null >out
if cmp -s int8.onnx other.onnx; then fail "another seed draws the same images"; fi

# The ending decides the format, and both hold the same model.
"$pare" compress net.onnx int8 -o int8.pare --calibration-images 64 2>/dev/null >out
"$pare" unpack int8.pare -o unpacked.onnx >/dev/null
cmp int8.onnx unpacked.onnx

# --report has a line for each layer; --json says it all; nothing else is on stdout.
"$pare" compress net.onnx prune:0.5,share=uniform+fp16 -o half.pare --report >out 2>err
[ ! -s err ] || grep -qv '^no --data' err || fail "images are mentioned for a recipe that needs none"
grep -q 'layer .*weights .*kept .*sparsity' out || fail "no table: $(cat out)"
"$pare" compress net.onnx prune:0.5,share=uniform -o half.pare --json 2>/dev/null >out.json
grep -q '"recipe": "prune:0.5,share=uniform"' out.json
grep -q '"output_bytes": ' out.json
[ "$(head -c 1 out.json)" = "{" ] || fail "--json prints something else first"

# A recipe file.
printf '[[step]]\nmethod = "prune"\nsparsity = 0.5\nshare = "uniform"\n' >recipe.toml
"$pare" compress net.onnx recipe.toml -o toml.pare >/dev/null 2>&1
cmp toml.pare half.pare

# Warnings are on stderr.
"$pare" compress net.onnx int8 -o few.onnx --calibration-images 2 >out 2>err
grep -q '^warning: int8: .*2 calibration images' err || fail "no warning of few images"

"$pare" compress --help >out
for word in prune:sparsity int8-dynamic fp16 bf16 finetune percentile Examples; do
  grep -q -- "$word" out || fail "the help does not mention $word"
done

# refuse CODE TEXT ARGUMENT...: the exit code, one line on stderr that holds TEXT, nothing left behind.
refuse() {
  local code=$1 text=$2 found=0 before
  shift 2
  before=$(ls -A)
  "$pare" compress "$@" >"$folder.out" 2>"$folder.err" || found=$?
  [ "$found" = "$code" ] && grep -qF -- "$text" "$folder.err" && [ "$(wc -l <"$folder.err")" = 1 ] ||
    fail "pare compress $*: exit $found, expected $code and one line with '$text'; it said: $(cat "$folder.err")"
  [ "$before" = "$(ls -A)" ] || fail "pare compress $*: left something behind"
  rm -f "$folder.out" "$folder.err"
}
refuse 2 "did you mean 'int8'" net.onnx in8 -o x.onnx
refuse 2 "sparsity" net.onnx prune:1.5 -o x.onnx
refuse 2 "weights cannot be '5'" net.onnx int8,weights=5 -o x.onnx
refuse 2 "group=32 is for weights=4" net.onnx int8,group=32 -o x.onnx
refuse 2 "must stand before 'int4'" net.onnx int4+equalise -o x.onnx
refuse 2 "alpha takes a number from 0 to 1" net.onnx smooth:2+int8 -o x.onnx
refuse 2 "must stand before 'int8'" net.onnx int8+prune:0.5 -o x.onnx
refuse 2 ".onnx or .pare" net.onnx int8 -o x.txt
refuse 1 "nowhere/x.onnx" net.onnx int8 -o nowhere/x.onnx
refuse 1 "missing.onnx" missing.onnx int8 -o x.onnx
refuse 2 "quantised already" int8.onnx int8 -o x.onnx
refuse 2 "quantised already" int8.pare prune:0.5 -o x.onnx
refuse 1 "nodata" net.onnx int8 --data nodata -o x.onnx
refuse 2 "no option is called --epochs" net.onnx int8 --epochs 3 -o x.onnx
if [ "$trains" != ON ]; then refuse 1 "has no training" net.onnx finetune:1 -o x.onnx; fi
echo "pare compress: all as documented"
