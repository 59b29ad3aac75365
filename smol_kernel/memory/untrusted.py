"""Text from outside as the model reads it: what an action put out, what tools and agents gave, what errors say.

It is data. The system prompt says so of all that stands between a head and `END`, and nothing within can look like
either, like another speaker, or like the tokens by which chat templates tell speakers apart.
"""

from __future__ import annotations

import re
from functools import lru_cache

END = "</observation>"
"""Stands behind such text in a request, on a line of its own."""


class Outside(str):
    """Text of a message that is from outside, with its head: what is made of it for a request ends with `END`."""

    __slots__ = ()


_MARK = re.compile(
    r"<(?=\s{0,9}/?\s{0,9}(?i:observation)\b"
    r"|[|｜][^<>\n]{1,60}[|｜]>"  # <|im_start|> of ChatML, <|eot_id|> of Llama 3, <｜User｜> of DeepSeek, and others
    r"|</?SYS>>"  # Llama 2
    r"|/?(?:s|[be]os|(?:start|end)_of_turn|tool_(?:call|response)|think)>)"  # Mistral, Gemma, Qwen
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS)\])"  # Mistral
    r"|^[ \t]*(?=(?:[Oo]bservation|OBSERVATION)s?[ \t]*:|(?:Error|Task):[ \t]*$"  # heads of ours
    r"|(?:System|SYSTEM|User|USER|Human|HUMAN|Assistant|ASSISTANT|Developer|DEVELOPER)[ \t]*:)",
    re.MULTILINE,
)


@lru_cache(maxsize=256)  # each request has all that came before in it
def inert(text: str) -> str:
    """`text` with a backslash in each thing that only looks like a mark. Other text stays byte for byte."""
    return _MARK.sub(lambda match: f"{match[0]}\\", text)
