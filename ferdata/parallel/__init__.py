"""Work on many cores: how many there are, and how much memory; a pool of threads, one of processes, Ray for the same.

In: a function and tasks. Out: results, in the order of the tasks or as they come, with a bounded number of tasks in
flight. Nothing is left running when a call ends, however it ends.
"""

from ferdata.parallel.cores import check_workers, crowding, usable_cores
from ferdata.parallel.memory import available_memory, physical_memory
from ferdata.parallel.openmp import let_threads_sleep
from ferdata.parallel.process_pool import Beat, map_in_processes, run_tasks
from ferdata.parallel.ray_cluster import ENGINES, ray_cluster, run_tasks_on_ray, seen_by_nodes
from ferdata.parallel.small_files import FILES_PER_JOB, read_in_order
from ferdata.parallel.threads import Progress, iterate_in_threads, map_in_threads

__all__ = [
    "ENGINES",
    "FILES_PER_JOB",
    "Beat",
    "Progress",
    "available_memory",
    "check_workers",
    "crowding",
    "iterate_in_threads",
    "let_threads_sleep",
    "map_in_processes",
    "map_in_threads",
    "physical_memory",
    "ray_cluster",
    "read_in_order",
    "run_tasks",
    "run_tasks_on_ray",
    "seen_by_nodes",
    "usable_cores",
]
