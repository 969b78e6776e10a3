"""The client of the relay's admin API, for conductors, the command line and people's scripts."""

from grayscale.control.client import Control
from grayscale.control.connection import Connection, connection_from
from grayscale.control.protocol import Claim, OnBehalf, act_key
from grayscale.control.sync import ControlSync

__all__ = [
    "Claim",
    "Connection",
    "Control",
    "ControlSync",
    "OnBehalf",
    "act_key",
    "connection_from",
]
