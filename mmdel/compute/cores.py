"""How many cores this process may use."""

import os


def usable_cores() -> int:
    """Cores that this process may use; a container or a scheduler may have limited them.

    torchrun starts several processes on a machine without dividing its cores among them, and says how many: each takes its share.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    processes = os.environ.get('LOCAL_WORLD_SIZE', '')
    return max(1, cores // int(processes)) if processes.isdigit() and int(processes) else cores
