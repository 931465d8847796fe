#!/usr/bin/env bash
# Choose images as a Slurm job of several processes: at once and in the foreground, or with SBATCH=1 handed over to the queue.
set -euo pipefail

if [ "$#" -lt 4 ]; then
    cat >&2 <<END
usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [arguments of dedup.py ...]
environment, with defaults: GPUS=8 GPUS_PER_NODE=8 (at most GPUS) CPUS_PER_TASK=5 PORT=29500 PYTHON=python
    GPUS is the number of processes. GRES=gpu:GPUS_PER_NODE; GRES= (empty) asks for no GPUs, and the processes run on the CPU
    SRUN_ARGS='more arguments of srun, or of sbatch, split at spaces'
    SBATCH=1 hands the job over and returns; its output goes to WORK_DIR/slurm-JOB.log
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
tasks=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((tasks < 8 ? tasks : 8))}
gres=${GRES-gpu:$per_node}
read -r -d '' -a more <<<"${SRUN_ARGS:-}" || true  # the end of the text is its delimiter, which read calls a failure
export MASTER_PORT="${PORT:-${MASTER_PORT:-29500}}"

job=(-p "$1" --job-name="$2")
[ -z "$gres" ] || job+=(--gres="$gres")
job+=(--ntasks="$tasks" --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}")
# a process that dies takes the job along, and does not leave the others waiting
step=(--kill-on-bad-exit=1)
command=("${PYTHON:-python}" -u "$tools/dedup.py" "$3" --work-dir="$4" --launcher=slurm "${@:5}")

if [ -z "${SBATCH:-}" ]; then
    exec srun "${job[@]}" "${step[@]}" ${more[@]+"${more[@]}"} "${command[@]}"
fi
mkdir -p "$4"
# srun takes the rest from the job; since Slurm 22.05 it has to be told the cores. Not --wrap, which is a script for sh: it may not
# know bash's quotes
exec sbatch "${job[@]}" ${more[@]+"${more[@]}"} --output="$4/slurm-%j.log" <<END
#!/bin/bash
exec srun --cpus-per-task=${CPUS_PER_TASK:-5}$(printf ' %q' "${step[@]}" "${command[@]}")
END
