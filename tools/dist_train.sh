#!/usr/bin/env bash
# Train on several GPUs of one machine, or of several: start it on each, with its own NODE_RANK.
set -euo pipefail

if [ "$#" -lt 2 ]; then
    cat >&2 <<END
usage: $0 CONFIG GPUS [arguments of train.py ...]
    GPUS is the number of processes on this machine
environment, with defaults: NNODES=1 NODE_RANK=0 MASTER_ADDR=127.0.0.1 PORT=29500 PYTHON=python
END
    exit 2
fi

tools=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --nproc_per_node="$2" \
    --master_port="${PORT:-29500}" \
    "$tools/train.py" "$1" --launcher pytorch "${@:3}"
