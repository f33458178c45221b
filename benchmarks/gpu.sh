#!/usr/bin/env bash
# All that is measured on a GPU, in one call: bash benchmarks/gpu.sh DATA WORK RESULT [--tiny]
# DATA is cifar100:PATH. Every part ends within ten minutes on a fast GPU, and is in RESULT when it ends; --tiny runs all of
# it small, on whatever device there is, without the tests.
set -euo pipefail
data=$1 work=$2 result=$3 tiny=${4:-}
cd "$(dirname "$0")/.."

if [ -z "$tiny" ]; then
    python -m pytest -q tests/losses tests/methods tests/training/test_cuda_graph.py tests/training/test_resume.py
fi
for part in methods graph speed protocol; do
    python benchmarks/gpu.py "$part" --data "$data" --work "$work" --result "$result" $tiny
done
