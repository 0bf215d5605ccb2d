"""Many pictures at once: which files to upscale, whether they fit into memory, and workers that upscale them.

Workers are processes of this machine or of a Ray cluster; one dispatcher serves both.
"""

from .job import Doing, Outcome, Settings, is_finished, run
from .memory import Work, available_bytes
from .plan import Job, plan_jobs
from .processes import in_processes
from .ray_cluster import on_cluster

__all__ = [
    "Doing",
    "Job",
    "Outcome",
    "Settings",
    "Work",
    "available_bytes",
    "in_processes",
    "is_finished",
    "on_cluster",
    "plan_jobs",
    "run",
]
