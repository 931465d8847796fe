#!/usr/bin/env bash
# Test on several GPUs of one machine, or of several: start it on each, with its own NODE_RANK.
set -euo pipefail

if [ "$#" -lt 3 ]; then
    cat >&2 <<END
usage: $0 CONFIG CHECKPOINT GPUS [arguments of test.py ...]
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
    --nproc_per_node="$3" \
    --master_port="${PORT:-29500}" \
    "$tools/test.py" "$1" "$2" --launcher pytorch "${@:4}"
