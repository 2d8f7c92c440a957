#!/usr/bin/env bash
# Prove and measure the CUDA path on a machine with one NVIDIA GPU and no network, in eight minutes:
#
#   benchmarks/gpu_wheels.sh                     # beforehand, where there is a network
#   benchmarks/gpu.sh --output gpu-results
#   benchmarks/gpu.sh --cpu --quick              # the same script on a CPU, small, in two minutes
#
# Python is $PYTHON or python3; it must have PyTorch, transformers and accelerate. `benchmarks/gpu.sh --help` says more.
set -euo pipefail
export HF_HUB_OFFLINE=1 PIP_NO_INDEX=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu.py" "$@"
