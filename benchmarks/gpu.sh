#!/usr/bin/env bash
# Test and benchmark the CUDA path on a machine with one NVIDIA GPU and no network access, in eight minutes:
#
#   benchmarks/gpu_wheels.sh                     # beforehand, on a machine with network access
#   benchmarks/gpu.sh --output gpu-results
#   benchmarks/gpu.sh --cpu --quick              # a two-minute trial run on a CPU
#
# Python is $PYTHON or python3; it must have PyTorch, transformers and accelerate. See `benchmarks/gpu.sh --help`.
set -euo pipefail
export HF_HUB_OFFLINE=1 PIP_NO_INDEX=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu.py" "$@"
