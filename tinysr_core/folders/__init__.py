"""Folder jobs: upscale many pictures and videos.

`plan_jobs` decides what to do, `run_job` does it. Workers are processes of this machine or actors of a Ray cluster; one
dispatcher serves both.
"""

from .file_upscaler import FileUpscaler
from .job import run_job
from .naming import Job, is_video
from .outcome import Outcome
from .plan import Plan, plan_jobs
from .preview import preview, seconds_per_pixel
from .progress import JobProgress
from .settings import Settings

__all__ = [
    "FileUpscaler",
    "Job",
    "JobProgress",
    "Outcome",
    "Plan",
    "Settings",
    "is_video",
    "plan_jobs",
    "preview",
    "run_job",
    "seconds_per_pixel",
]
