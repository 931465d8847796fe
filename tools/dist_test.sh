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

# NAME VALUE LEAST
number() {
    if ! [[ $2 =~ ^(0|[1-9][0-9]*)$ ]] || [ "$2" -lt "$3" ]; then
        echo "error: $1 is a whole number of at least $3, got '$2'. Usage: $0 without arguments" >&2
        exit 2
    fi
}
number GPUS "$3" 1
number NNODES "${NNODES:-1}" 1
number NODE_RANK "${NODE_RANK:-0}" 0
number PORT "${PORT:-29500}" 1
# torchrun would say so in fifty lines
if [ "${NODE_RANK:-0}" = 0 ] && (exec 3<>"/dev/tcp/127.0.0.1/${PORT:-29500}") 2>/dev/null; then
    echo "error: something else uses port ${PORT:-29500} of this machine, perhaps another job. Take another one: PORT=29501 $0 ..." >&2
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
