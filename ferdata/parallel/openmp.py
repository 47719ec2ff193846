"""How threads that compute together wait for each other, in the programs that we start. In: nothing. Out: environment.

torch divides every operation among threads of OpenMP, which by default spin until the last one is done. Where other
work has a core, they spin for all of its turn: on two cores with others at work, a step of a small network took 180 ms
on two threads that spin, 24 ms on one thread, and 28 ms on two that sleep. Results do not depend on it.
"""

import os

from ferdata.parallel.cores import usable_cores

__all__ = ["let_threads_sleep"]


def let_threads_sleep() -> None:
    """Have threads of OpenMP sleep while they wait, and be no more than the cores that a container's quota gives.

    Takes effect in this process if torch is not imported yet, and in those that it starts. What the environment says
    already holds.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if (cores := usable_cores()) < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))
