"""Why a cell of finished work did not run to its end, in words. Used by `prove`."""

from __future__ import annotations

from smol_kernel.events import ActionFinished
from smol_kernel.render.plain import plain

_NETWORK = frozenset(
    ["gaierror", "ConnectionError", "URLError", "ConnectError", "ConnectTimeout", "ProxyError", "NewConnectionError"]
)


def failure(ended: ActionFinished) -> str:
    """Why a cell did not run to its end."""
    kind, message = ended.error_type or "", " ".join(plain(ended.error or "").split())[:200]
    said = ": ".join(filter(None, [kind, message])) or f"the kernel ended ({ended.status})"
    if kind in _NETWORK or "Network is unreachable" in message or "name resolution" in message:
        return f"the cells need the network, which a proof has not ({said})"
    if kind == "NameError":
        return f"the cells use what they do not make themselves, such as a variable of an earlier run ({said})"
    if kind == "FileNotFoundError":
        return f"a file is not there any more, or an earlier run had made it ({said})"
    return f"the cells fail ({said})"
