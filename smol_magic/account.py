"""The final object of a run: the one full account of it, the same wherever and whenever it is displayed.

Times, cost and ids are in its metadata only, so that two executions of a notebook compare equal.
Used by `cell` and `%agent show`.
"""

from __future__ import annotations

from typing import Any

from smol_kernel.render.html import account_html
from smol_kernel.render.markdown import account_markdown
from smol_kernel.render.text import account_text
from smol_kernel.render.transcript import Transcript


def account(transcript: Transcript) -> tuple[dict[str, str], dict[str, Any]]:
    """The MIME bundle and the metadata to display it with."""
    data = {
        "text/plain": account_text(transcript),
        "text/html": account_html(transcript),
        "text/markdown": account_markdown(transcript),
    }
    totals = transcript.whole  # with what agents it called used
    details = {
        "run": transcript.run,
        "state": transcript.state,
        "model": transcript.model,
        "isolation": transcript.isolation,
        "unboxed": transcript.unboxed,
        "seconds": totals.seconds,
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "cost": totals.cost,
    }
    return data, {"smol": details}
