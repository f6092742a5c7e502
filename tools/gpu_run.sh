#!/usr/bin/env bash
# A quarter of an hour on an accelerator: measures the renderer, trains the landmark head and dir-s-whole on pictures made
# there, measures dir-release and dir-s, and leaves what can be gone on from. Run from the top of the checkout.
#
#     tools/gpu_run.sh                  within SECONDS_IN_ALL (540); again to go on while the machine keeps runs/gpu
#     tools/gpu_run.sh --dry            the same steps on two cores with next to nothing in each, in a few minutes
#
# Results go to $OUT (runs/gpu/out by default): a log, the head, and the state or the weights of dir-s-whole in parts of
# 15 MB. Parts of an earlier run are taken up from $PARTS/head and $PARTS/dir (gpu_parts by default), if they are there;
# wheels of what the machine lacks are installed from .whl. docs/training.md tells which.
set -uo pipefail
shopt -s nullglob

dry=0
[ "${1:-}" = --dry ] && dry=1
began=$SECONDS
in_all=${SECONDS_IN_ALL:-540}
python=${PYTHON:-python3}
work=${WORK:-runs/gpu}
out=${OUT:-$work/out}
parts=${PARTS:-gpu_parts}
head_run=$work/landmark-head
dir_run=$work/dir-s-whole
shipped=inference_core/two_hand/assets/dir-s
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
mkdir -p "$work" "$out"
exec > >(tee -a "$out/log.txt") 2>&1

if [ "$dry" = 1 ]; then
    device=cpu
    in_all=3600
    renderer=(--device cpu --batch 4 --chunk 4 --repeats 1)
    crops=(--device cpu --picture-px 128 --backgrounds 4 --shards 1 --cuts 1)
    head=(--run.device cpu --run.batch 8 --run.steps 4)
    dir=(--run.device cpu --run.batch 2 --run.no-compile --run.no-pictures --data.validation 4 --run.steps 4
        --data.synthetic.backgrounds 4 --data.synthetic.chunk 2)
    network=(--device cpu --batch 1 --rounds 1)
else
    device=cuda
    renderer=(--device cuda --repeats 3)
    crops=(--device cuda --shards 4000 --cuts 2)
    head=(--run.device cuda --run.batch 512 --run.time-limit-s "${HEAD_SECONDS:-108}")
    dir=(--run.device cuda --run.time-limit-s "${DIR_SECONDS:-600}" --run.save-every-s 60 --run.evaluate-every 1000)
    network=(--device cuda --batch 64)
fi

left() { echo $((in_all - SECONDS + began)); }

# step NAME SECONDS COMMAND...: one that fails or takes too long is told of and does not keep the others from running.
# What is trained must be written within the last seconds.
step() {
    local name=$1 limit=$2 rest=$(($(left) - 20)) started=$SECONDS
    shift 2
    [ "$limit" -gt "$rest" ] && limit=$rest
    [ "$limit" -gt 0 ] || { echo "== $name: no time left" && return; }
    echo "== $name"
    timeout --kill-after=10 "$limit" "$@" || echo "== $name: ended with $?"
    echo "== $name: $((SECONDS - started)) s, $(left) s left"
}

install_wheels() {
    local wheels=(.whl/*.whl)
    [ ${#wheels[@]} = 0 ] && return
    "$python" -m pip install -q --no-index --no-deps --no-compile --target /tmp/duohand-site "${wheels[@]}"
    export PYTHONPATH=$PYTHONPATH:/tmp/duohand-site
}

take_up() {
    local from=$1 run=$2 files=("$1"/state-*.part)
    [ ${#files[@]} = 0 ] || [ -e "$run/checkpoint.pt" ] && return
    "$python" -m training convert checkpoint-parts join "$from" "$run" && echo "taken up from $from"
}

install_wheels
"$python" - "$device" <<'PYTHON' || exit 1
import sys, torch

if sys.argv[1] == "cuda":
    torch.zeros(1, device="cuda")
    properties = torch.cuda.get_device_properties(0)
    print(f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, bfloat16 {torch.cuda.is_bf16_supported()}")
print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, CUDA {torch.version.cuda}")
PYTHON
take_up "$parts/head" "$head_run"
take_up "$parts/dir" "$dir_run"

step renderer $((dry ? 600 : 60)) "$python" -m benchmarks.synthetic "${renderer[@]}"

# Crops are made beside the head's training, which takes in shards as they appear; afterwards dir-s-whole has the device
# to itself.
step "validation crops" $((dry ? 600 : 30)) "$python" -m training generate crops "$work/crops" --whole-pictures "${crops[@]}" \
    --shards $((dry ? 1 : 8)) --seed 900000001
step "first crops" $((dry ? 600 : 30)) "$python" -m training generate crops "$work/crops" --whole-pictures "${crops[@]}" --shards $((dry ? 1 : 8))
"$python" -m training generate crops "$work/crops" --whole-pictures "${crops[@]}" >"$work/crops.log" 2>&1 &
maker=$!
step head $(($(left) / 4)) "$python" -m training train landmark-head --crops "$work/crops" --run.out "$work" "${head[@]}" \
    --run.init-from "$shipped/landmark_head.safetensors"
kill "$maker" 2>/dev/null
wait "$maker" 2>/dev/null
tail -c 200 "$work/crops.log"

# The measurements after it take a minute and a half.
for_dir=$(($(left) - 110))
step dir-s-whole $((for_dir + 40)) "$python" -m training train dir-s-whole --run.out "$work" --run.init-from "$shipped" \
    --network.backbone landmark --run.stop-after-s "$for_dir" "${dir[@]}"

for name in dir-release dir-s; do
    step "$name" $((dry ? 600 : 45)) "$python" -W ignore -m benchmarks.network --network "$name" "${network[@]}"
done

mkdir -p "$out/head" "$out/dir"
cp "$head_run/landmark_head.safetensors" "$out/head/"
"$python" -m training convert checkpoint-parts split "$head_run" "$out/head"
if grep -q "^dir-s-whole: .*; complete" "$out/log.txt" && [ -e "$dir_run/weights/weights.safetensors" ]; then
    "$python" -m training convert weight-parts split "$dir_run/weights" "$out/dir"
else
    "$python" -m training convert checkpoint-parts split "$dir_run" "$out/dir"
fi
find "$out" -type f -size +16000k -exec echo "too large to travel: {}" \;
find "$out" -type f -exec ls -l {} +
echo "== done in $((SECONDS - began)) s"
