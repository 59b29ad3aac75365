"""The journal: every durable event of every run, in one SQLite file that several processes and threads share.

`record` writes a stream of events while it passes it on; everything that outlives a run is read back from here.
"""

from smol_kernel.journal.recording import record
from smol_kernel.journal.rows import RunSummary
from smol_kernel.journal.store import Journal, default_path, open_journal

__all__ = ["Journal", "RunSummary", "default_path", "open_journal", "record"]
