#!/bin/sh
# What mmdel does on a GPU, in at most eight minutes and without a network: one gpu.json and one gpu.log in OUT.
#
#   benchmarks/gpu.sh PACKAGES OUT [--device cpu --small]
#
# PACKAGES is what benchmarks/gpu_packages.py has collected, or - where nothing is missing. PYTHON=... names the interpreter,
# which has torch, NumPy, OpenCV and pyarrow.
set -eu
test $# -ge 2 || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
packages=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
python=${PYTHON:-python3}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if test "$packages" != -; then
    for each in "$packages"/*.zip "$packages"/*.whl; do
        "$python" -m zipfile -e "$each" "$site"
    done
fi
shift 2
cd "$(dirname "$0")/.."
PYTHONPATH="$PWD:$site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 "$python" benchmarks/gpu.py --out "$out" "$@"
