#!/usr/bin/env bash
# Lays the bundle out as the Model Zoo has it: FOLDER/models/leaf_seg, its unit tests in FOLDER/ci/unit_tests, and the zip
# that the zoo would publish, FOLDER/leaf_seg_vVERSION.zip.
set -euo pipefail

if [[ $# -ne 1 || $1 == -* ]]; then
    echo "Usage: scripts/package_zoo.sh FOLDER (to be made)" >&2
    exit 2
fi
if [[ -e $1 ]]; then
    echo "$1: exists; expected a folder that is to be made. Remove it, or name another." >&2
    exit 2
fi
python=$(command -v python3 || command -v python)
mkdir -p "$1"
target=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

git ls-files -z bundles/leaf_seg | while IFS= read -r -d '' file; do
    to="$target/models/leaf_seg/${file#bundles/leaf_seg/}"
    mkdir -p "$(dirname "$to")"
    cp "$file" "$to"
done
mkdir -p "$target/ci/unit_tests"
cp ci/unit_tests/test_leaf_seg*.py "$target/ci/unit_tests/"

version=$("$python" -c 'import json; print(json.load(open("bundles/leaf_seg/configs/metadata.json"))["version"])')
(cd "$target/models" && "$python" -m zipfile -c "$target/leaf_seg_v$version.zip" leaf_seg)
echo "$target/models/leaf_seg"
echo "$target/leaf_seg_v$version.zip"
