#!/usr/bin/env bash
# Download the wheels that benchmarks/gpu.sh needs besides PyTorch, transformers and accelerate:
#
#   benchmarks/gpu_wheels.sh [FOLDER] [PYTHON_VERSION]        # default: benchmarks/wheels, 3.12; x86-64 Linux
#
# Versions are those of constraints.txt. gpu.sh installs only missing packages and reports those without a wheel.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
case ${1:-} in -*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;; esac
folder=${1:-$here/benchmarks/wheels}
version=${2:-3.12}
names=(
    diffusers importlib_metadata zipp lazy-importer requests charset-normalizer urllib3 certifi idna # training
    click filelock tomli-w rich markdown-it-py mdurl pygments msgspec jinja2 markupsafe # command line
    pytest pluggy iniconfig pytest-xdist execnet hypothesis sortedcontainers # tests
    bitsandbytes # --optimizer adamw8bit
)
platforms=()
for glibc in 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${glibc}_x86_64"); done
"${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    -c "$here/constraints.txt" \
    --python-version "$version" --implementation cp "${platforms[@]}" --platform manylinux2014_x86_64 \
    -d "$folder" "${names[@]}"
size=$(du -sm "$folder" | cut -f1)
echo "$folder: $(ls "$folder" | wc -l) wheels, $size MB"
if [ "$size" -gt 60 ]; then
    echo "More than 60 MB. Remove wheels of packages that the GPU machine already has." >&2
    exit 1
fi
