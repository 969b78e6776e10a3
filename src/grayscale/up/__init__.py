"""`grayscale up`: relay, Prefect, work pool, deployments and worker in one command."""

from grayscale.up.run import run_up
from grayscale.up.stack import Stack

__all__ = ["Stack", "run_up"]
