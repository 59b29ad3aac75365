"""Attacks of our own, in the form of payloads.json."""

from __future__ import annotations

from own_files import FILES
from own_messages import MESSAGES
from own_processes import PROCESSES
from own_system import SYSTEM
from own_tables import TABLES
from own_zygote import ZYGOTE

OWN = [*FILES, *SYSTEM, *PROCESSES, *MESSAGES, *TABLES, *ZYGOTE]
