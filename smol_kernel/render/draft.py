"""What a model has written of a reply that is not whole: its words, and the code that they lead to."""

from __future__ import annotations

import re

_OPENING = re.compile(
    r"(?<!`)<(?:c?|co|cod|code|code>)\Z|(?<!`)<code>"
    r"|^[ \t]*(?:`{3,}|~{3,})[ \t]*(?:[\w+#.-]+[ \t]*)?(?:\n|\Z)|^[ \t]*`{1,2}\Z",
    re.IGNORECASE | re.MULTILINE,
)
"""What begins the code, also where only a part of it has come."""
_CLOSING = re.compile(r"(?:^[ \t]*(?:</?[code]{0,4}>?|`+|~+)|</code>)\s*\Z", re.IGNORECASE | re.MULTILINE)


def words_and_code(reply: str) -> tuple[str, str]:
    """The words before the first code, and all from there on, both without the marks around code. What is only thought
    about, in `<think>`, is words."""
    opening = _OPENING.search(reply, _thought(reply))
    if opening is None:
        return reply.strip(), ""
    return reply[: opening.start()].strip(), _CLOSING.sub("", reply[opening.end() :]).strip("\n").rstrip()


def _thought(reply: str) -> int:
    """Where reasoning ends that the reply begins with."""
    if not reply.lstrip().startswith("<think>"):
        return 0
    end = reply.find("</think>")
    return len(reply) if end < 0 else end
