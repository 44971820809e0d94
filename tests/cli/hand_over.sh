#!/usr/bin/env bash
# `pare` is not linked with LibTorch; what trains goes on as pare-train, and everything else does not. A played pare-train
# beside a copy of `pare` says what it was given, so nothing here needs Torch.
#   hand_over.sh PARE SOURCE
set -euo pipefail
program=$(realpath "$1"); source=$(realpath "$2")
export PARE_HOME=$source
unset OMP_WAIT_POLICY
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cd "$folder"
fail() { echo "$*"; exit 1; }

needed=$(ldd "$program")
if grep -E 'torch|libc10|libgomp' <<<"$needed"; then fail "pare loads libraries of training"; fi

mkdir alone both fake links
cp "$program" alone/pare
cp "$program" both/pare
cat >both/pare-train <<'END'
#!/bin/sh
printf '[%s]' "$@"
echo " $OMP_WAIT_POLICY"
cat
exit 7
END
printf '#!/bin/sh\necho "not this one"\n' >fake/pare-train
chmod +x both/pare-train fake/pare-train
cp "$source/tests/fuzz/corpus/onnx/conv_bn" net.onnx

head='name = "x"\nvariants = ["fp32", "%s"]\n[[net]]\n%s\n'
printf "$head" finetune:1 'model = "net.onnx"' >finetunes.toml
printf "$head" fp16 'train = "vit-seed-quick"' >trains.toml
printf "$head" fp16 'model = "none.onnx"' >plain.toml

# handed ARGUMENT...: pare-train got these arguments, stdin and the way to wait; its exit code is the program's.
handed() {
  local code=0 said
  said=$(echo input | "${pare[@]}" "$@") || code=$?
  [ "$code" = 7 ] && [ "$said" = "$(printf '[%s]' "$@") ${OMP_WAIT_POLICY:-passive}
input" ] || fail "${pare[*]} $*: exit $code, and it said: $said"
}
# kept CODE TEXT ARGUMENT...: `pare` itself ends with this code and a word on TEXT.
kept() {
  local code=$1 text=$2 found=0 said
  shift 2
  said=$("${pare[@]}" "$@" 2>&1 </dev/null) || found=$?
  [ "$found" = "$code" ] && grep -qF -- "$text" <<<"$said" || fail "${pare[*]} $*: exit $found, and it said: $said"
}

pare=(both/pare)
handed train
handed train --help
handed train --model alexnet --data eval --set 'a b' '' '"*"'
handed compress net.onnx finetune:1 -o out.onnx --device cpu
handed compress net.onnx prune:0.5,score=taylor -o out.onnx
handed tune net.onnx --finetune 1
handed study trains.toml --dry-run
handed study finetunes.toml
(OMP_WAIT_POLICY=active; export OMP_WAIT_POLICY; handed train)
kept 0 "Train a model" --help
kept 0 "pare " --version
kept 0 "--device" compress --help
kept 0 "out.onnx" compress net.onnx fp16 -o out.onnx
kept 2 "must stand before" compress net.onnx int8+finetune:1 -o out.onnx
kept 2 "did you mean train" trian
kept 1 "none.onnx" study plain.toml --dry-run

# However it is called.
ln -s ../both/pare links/first
ln -s first links/pare
pare=(links/pare); handed train --fields
pare=(env "PATH=$folder/fake:$folder/both:$PATH" pare); handed train --fields
pare=(env "PATH=$folder/fake:$folder/links:$PATH" pare); handed train --fields
chmod -x both/pare-train; pare=(both/pare); kept 1 "has no training" train; chmod +x both/pare-train
echo 'no program' >both/pare-train; kept 1 "both/pare-train: " train

# A build without training.
pare=(env "PATH=$folder/fake:$PATH" alone/pare)
kept 1 "has no training" train --help
kept 1 "recipe 'finetune:1' needs the trainer: this build of pare has no training" compress net.onnx finetune:1 -o out.onnx
kept 1 "needs the trainer" compress net.onnx prune:0.5,score=taylor -o out.onnx
kept 2 "no option is called --device" compress net.onnx fp16 -o out.onnx --device cpu
kept 0 "training: left out (built without training)" study trains.toml --dry-run
if alone/pare --help | grep -q '^  train '; then fail "a build without training lists train"; fi
echo "handing over: all as documented"
