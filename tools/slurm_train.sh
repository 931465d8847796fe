#!/usr/bin/env bash
# Train as a Slurm job, one process a GPU.
set -euo pipefail

if [ "$#" -lt 4 ]; then
    cat >&2 <<END
usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py ...]
environment, with defaults: GPUS=8 GPUS_PER_NODE=8 (at most GPUS) CPUS_PER_TASK=5 PORT=29500 PYTHON=python
    SRUN_ARGS='more arguments of srun, split at spaces'
END
    exit 2
fi

# NAME VALUE LEAST
number() {
    if ! [[ $2 =~ ^(0|[1-9][0-9]*)$ ]] || [ "$2" -lt "$3" ]; then
        echo "error: $1 is a whole number of at least $3, got '$2'. Usage: $0 without arguments" >&2
        exit 2
    fi
}
number GPUS "${GPUS:-8}" 1
number GPUS_PER_NODE "${GPUS_PER_NODE:-8}" 1
number CPUS_PER_TASK "${CPUS_PER_TASK:-5}" 1
number PORT "${PORT:-${MASTER_PORT:-29500}}" 1

tools=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
read -r -d '' -a srun_args <<<"${SRUN_ARGS:-}" || true  # the end of the text is its delimiter, which read calls a failure
export MASTER_PORT="${PORT:-${MASTER_PORT:-29500}}"

exec srun -p "$1" \
    --job-name="$2" \
    --gres=gpu:"$per_node" \
    --ntasks="$gpus" \
    --ntasks-per-node="$per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${srun_args[@]+"${srun_args[@]}"} \
    "${PYTHON:-python}" -u "$tools/train.py" "$3" --work-dir="$4" --launcher=slurm "${@:5}"
