#!/usr/bin/env bash
# Trains and evaluates the shipped hippocampus model, in less than two hours on two CPU cores.
# Stopped, it goes on where it was when it is run again with the same arguments.
set -euo pipefail

usage="usage: $0 DATASET_DIR [OUTPUT_DIR]
  DATASET_DIR  Task04_Hippocampus as MONAI's DecathlonDataset leaves it (the split of the shipped model is copied into
               it as split.json, unless there is one), or a folder with images/, labels/ and split.json
  OUTPUT_DIR   of the model and its evaluations (without: runs/hippocampus_model); OUTPUT_DIR_stage1 beside it is the
               first stage's"
case "${1:-}" in
    -h | --help) echo "$usage"; exit 0 ;;
    "") echo "$usage" >&2; exit 2 ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=python
if [ -x "$root/.venv/bin/python" ]; then python=$root/.venv/bin/python; fi
absolute() { "$python" -c 'import os, sys; print(os.path.abspath(sys.argv[1]))' "$1"; }
dataset=$(absolute "$1")
output=$(absolute "${2:-$root/runs/hippocampus_model}")
cd "$root"
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}  # threads that spin while they wait slow down each other
bundle=bundles/leaf_seg
recipe="'$bundle/configs/train.json','$bundle/configs/profiles/hippocampus.json'"

if [ ! -d "$dataset" ]; then
    echo "$0: no folder $dataset" >&2
    exit 2
fi
if [ -e "$dataset/imagesTr/hippocampus_001.nii.gz" ] && [ ! -e "$dataset/split.json" ]; then
    cp "$bundle/configs/profiles/hippocampus_split.json" "$dataset/split.json"
fi

train() {
    "$python" -m monai.bundle run training --config_file "[$recipe]" --bundle_root "$bundle" --dataset_dir "$dataset" \
        --resume true "$@"
}
# First at a smaller size, along three directions, from the autoencoder: 4 epochs of a schedule of 8.
stage1=${output}_stage1
train --output_dir "$stage1" --image_size "[64,64]" --axis "['coronal','axial','sagittal']" --learning_rate 4e-4 \
    --warmup_steps 100 --max_epochs 4 --schedule_epochs 8 --val_interval 1
train --output_dir "$output" --init_dir "$stage1"

for split in validation testing; do
    "$python" -m monai.bundle run evaluating --config_file "[$recipe,'$bundle/configs/evaluate.json']" \
        --bundle_root "$bundle" --dataset_dir "$dataset" --model_dir "$output" --split "$split" --num_noise_seeds 10
done
