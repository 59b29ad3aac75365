"""What comes out of a model: where a reply ends, what of it is reasoning, and the tool calls that it writes as text.

Called by the models; public for those that users write.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any, TypeVar

from smol_kernel.errors import ToolError
from smol_kernel.events import ModelReplied
from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    read_usage,
)

Text = TypeVar("Text", str, None)

CUT_OFF = (
    "Your reply was cut off, at the limit on its tokens (max_tokens) or by the provider, so nothing was run. Write "
    "less at once: do the work in several smaller steps."
)
"""Said of a reply that ended in the middle of its action."""
_SAID = r"<\|channel\|>(?:final|commentary)[^<>\n]{0,80}(?:<\|constrain\|>[^<>\n]{0,40})?<\|message\|>"
"""What the harmony format of gpt-oss puts before words that are no reasoning."""
_PAIRS = (
    (r"<think(?:ing)?>", r"</think(?:ing)?>"),
    (r"<seed:think>", r"</seed:think>"),
    (r"(?-i:\[THINK\])", r"(?-i:\[/THINK\])"),  # Magistral
    (r"◁think▷", r"◁/think▷"),  # Kimi
    (r"<\|channel>thought\b", r"<channel\|>"),  # Gemma
    (r"<thought>", r"</thought>"),
    (r"<reasoning>", r"</reasoning>"),
    (
        r"(?:<\|start\|>assistant)?<\|channel\|>analysis[^<>\n]{0,80}(?:<\|constrain\|>[^<>\n]{0,40})?<\|message\|>",
        rf"(?:<\|end\|>)?(?:<\|start\|>assistant)?{_SAID}|<\|end\|>(?:<\|start\|>assistant)?",
    ),
)
"""What opens and what closes reasoning."""
_WORDS = ("o5", "o6")
"""Those that are words of XML as well: they open it where they begin the reply and are closed."""
_ALONE = (*(closing for _, closing in _PAIRS[:5]), rf"(?:<\|start\|>assistant)?{_SAID}")
"""What closes reasoning also where nothing opened it: the server put that into the request, or took it away."""
_OPENINGS = "|".join(f"(?P<o{number}>{opening})" for number, (opening, _) in enumerate(_PAIRS))
_MARK = re.compile(f"{_OPENINGS}|{'|'.join(_ALONE)}", re.IGNORECASE)
_CLOSINGS = {f"o{number}": re.compile(closing, re.IGNORECASE) for number, (_, closing) in enumerate(_PAIRS)}
_LONGEST_MARK = 200
_JSON_BEGINS = re.compile(r"[{\[]")
_MOST_BEGINS = 10_000
"""Places in one reply at which no JSON begins after all before no more are tried: each costs a copy of the rest."""
_DECODER = json.JSONDecoder(strict=False)


def remove_content_after_stop_sequences(content: Text, stop_sequences: list[str] | None) -> Text:
    """`content` up to the first stop sequence behind the reasoning that it begins with; None stays None."""
    if content is None:
        return content
    scan = StopScan(stop_sequences)
    return scan.feed(content) + scan.rest()


class StopScan:
    """Lets streamed text through up to the first stop sequence, wherever the pieces happen to be cut.

    One in the reasoning that the text begins with ends nothing: the model only thinks about its reply there.
    """

    def __init__(self, stop_sequences: list[str] | None) -> None:
        self._stops = stop_sequences or []
        self._held = ""
        self._closing: re.Pattern[str] | None = None
        """Closes the reasoning that the text is in; None: it is in none."""
        self._in_word = False
        """Whether that is reasoning only if it is closed."""
        self._seen = ""
        """The end of that reasoning so far; before it the beginning of the text."""
        self.over = False
        """Whether there was one."""

    def feed(self, text: str) -> str:
        """What of the text so far may be shown; the beginning of a possible stop sequence is held back."""
        if self.over:
            return ""
        thought, length = "", self._thought(text)
        if length is not None:
            thought, self._held = self._held + text[:length], ""
        self._held += text[length:]
        end = self._end()
        self.over = end is not None and not self._in_word
        shown = self._held[: len(self._held) - self._suspect() if end is None else end]
        self._held = self._held[len(shown) :]
        return thought + shown

    def rest(self) -> str:
        """What was held back, once the reply is over."""
        end = self._end()
        self.over = self.over or end is not None
        return "" if self.over else self._held

    def _end(self) -> int | None:
        """Where the first stop sequence in the held text begins."""
        return min((self._held.find(stop) for stop in self._stops if stop in self._held), default=None)

    def _thought(self, text: str) -> int | None:
        """How much of the text that comes next belongs to reasoning, as does what is held then; None: nothing."""
        length = None
        while self._closing or len(self._seen) < _LONGEST_MARK:
            seen = self._seen + text[length:]
            seen = seen if self._closing else seen.lstrip()
            mark = _first(self._closing, seen) if self._closing else _MARK.match(seen)
            if self._closing and mark and mark.end() == len(seen) and seen.endswith("`", 0, mark.start()):
                mark = None  # what comes next tells whether it is only spoken of
            if mark is None or (not self._closing and not mark.lastgroup):
                self._seen = seen[-_LONGEST_MARK:] if self._closing else seen[:_LONGEST_MARK]
                return len(text) if self._closing and not self._in_word else length
            length = len(text) - len(seen) + mark.end()
            self._in_word = not self._closing and mark.lastgroup in _WORDS
            self._closing, self._seen = None if self._closing else _CLOSINGS[mark.lastgroup or ""], ""
        return length

    def _suspect(self) -> int:
        """Length of the longest end of the held text that begins a stop sequence."""
        sizes = (size for stop in self._stops for size in range(1, len(stop)) if self._held.endswith(stop[:size]))
        return max(sizes, default=0)


def without_reasoning(reply: str, action: Callable[[str, int, int], int | None] | None = None) -> str:
    """The reply without its reasoning, as in `<think>`: the first may have no opening mark, one never closed goes on to
    the end.

    `action` says where the first action ends that begins between two places of the reply, if one does: a mark inside
    of it is its own text. Without it the reply is prose, and reasoning stands only at its beginning.
    """
    kept, start, place, is_first = "", 0, 0, True
    while mark := _first(_MARK, reply, place):
        while action and place <= mark.start() and (end := action(reply, place, mark.start())) is not None:
            place = end
        if place > mark.start():
            continue
        if mark.lastgroup is None:
            # Behind an action, and between the words of a sentence, it is only spoken of.
            if is_first and not (place and reply[mark.start() - 1] == " " == reply[mark.end() : mark.end() + 1]):
                start = mark.end()
            place = mark.end()
        elif mark.lastgroup in _WORDS and not _is_closed(mark, kept + reply[start : mark.start()]):
            place = mark.end()
            continue
        elif action is None and reply[start : mark.start()].strip():
            break
        else:
            kept += reply[start : mark.start()]
            closing = _first(_CLOSINGS[mark.lastgroup], reply, mark.end())
            start = place = closing.end() if closing else len(reply)
        is_first = False
    return kept + reply[start:]


def _is_closed(mark: re.Match[str], before: str) -> bool:
    """Whether a mark begins what is said and its closing mark follows."""
    return not before.strip() and _first(_CLOSINGS[mark.lastgroup or ""], mark.string, mark.end()) is not None


def _first(pattern: re.Pattern[str], text: str, place: int = 0) -> re.Match[str] | None:
    """The first mark from a place on; in backticks it is only spoken of."""
    for found in pattern.finditer(text, place):
        if not (text.endswith("`", 0, found.start()) and text.startswith("`", found.end())):
            return found
    return None


def json_end(text: str, place: int, stop: int) -> int | None:
    """Where the first whole JSON object or list ends that begins in `text` between `place` and `stop`, if one does."""
    for found in islice(_JSON_BEGINS.finditer(text, place, stop), _MOST_BEGINS):
        with suppress(ValueError, RecursionError):
            return found.start() + _decoded(text, found.start())[1]
    return None


def _decoded(text: str, place: int) -> tuple[Any, int]:
    """The JSON value at a place, and its length."""
    return _DECODER.raw_decode(text[place:])  # an error counts the lines before it, which takes long in a long text


def parse_json_if_needed(arguments: Any) -> Any:
    """Arguments given as JSON text, decoded; what is no text, or no JSON, as it is."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments, strict=False)
    except ValueError:
        return arguments


def whole_calls(message: ChatMessage) -> list[ChatMessageToolCall]:
    """The structured calls of a reply, if it has any.

    Raises ToolError where it was cut off before they were whole: of calls that it writes as text one cannot tell.
    """
    calls = message.tool_calls or []
    given = [parse_json_if_needed(call.function.arguments) for call in calls]
    if message.cut_off and not (given and all(isinstance(arguments, dict) for arguments in given)):
        raise ToolError(CUT_OFF)
    return calls


def get_tool_call_from_text(text: str, tool_name_key: str, tool_arguments_key: str) -> ChatMessageToolCall:
    """The first tool call that `text` holds as a JSON object, which has the tool's name and arguments under these keys.

    Raises ToolError, a ValueError, which says what a call looks like.
    """
    return tool_calls_in(text, tool_name_key, tool_arguments_key)[0]


def tool_calls_in(text: str, name_key: str, arguments_key: str) -> list[ChatMessageToolCall]:
    """All tool calls that `text` holds as JSON objects: by themselves, in fences or tags, in a list, side by side.

    An object with `name_key` is a call; its arguments are under `arguments_key` or "parameters", and may be JSON text
    themselves. The shape of OpenAI's API (`{"function": {…}}`, `{"tool_calls": […]}`) is understood too. What the model
    only thought about, in `<think>` and the like, is none. Raises ToolError, a ValueError, which says what a call looks
    like.
    """
    objects, broken = _json_in(without_reasoning(text, json_end))
    calls = [call for found in objects for call in _calls_of(found, name_key, arguments_key)]
    if calls:
        return calls
    example = json.dumps({name_key: "the_tool", arguments_key: {"argument": "value"}})
    found = next((found for found in objects if isinstance(found, dict)), None)
    if broken is not None and (found is None or f'"{name_key}"' in broken.doc):
        raise ToolError(
            f"the reply's tool call is not valid JSON: {broken.msg} at {_near(broken)}. Strings and keys stand in "
            f"double quotes, with true, false and null. It has to look like {example}"
        ) from broken
    if found is not None:
        raise ToolError(
            f"the reply's JSON names no tool: it has the keys {list(found)[:8]}, and no {name_key!r}. "
            f"A tool call looks like {example}"
        )
    raise ToolError(f"the reply holds no tool call. Write it as a JSON object: {example}")


def _json_in(text: str) -> tuple[list[Any], json.JSONDecodeError | None]:
    """The objects and lists in `text`, from left to right, and why the first that looks like one is none."""
    found, broken, end = [], None, 0
    failed = 0
    for begin in _JSON_BEGINS.finditer(text):
        place = begin.start()
        if place < end:
            continue
        try:
            value, length = _decoded(text, place)
            found.append(value)
            end = place + length
        except json.JSONDecodeError as error:
            if text[place] == "{" and broken is None:
                broken = error
            failed += 1
            if failed == _MOST_BEGINS:
                break
        except RecursionError:
            break
    return found, broken


def _calls_of(found: Any, name_key: str, arguments_key: str) -> list[ChatMessageToolCall]:
    if isinstance(found, list):
        return [call for item in found for call in _calls_of(item, name_key, arguments_key)]
    if not isinstance(found, dict):
        return []
    if isinstance(found.get(name_key), str):
        arguments = found.get(arguments_key, found.get("parameters"))
        function = ChatMessageToolCallFunction(found[name_key], parse_json_if_needed(arguments))
        return [ChatMessageToolCall(function, id=str(uuid.uuid4()))]
    inner = found.get("tool_calls") or found.get("function")
    return _calls_of(inner, name_key, arguments_key) if isinstance(inner, (list, dict)) else []


def _near(error: json.JSONDecodeError) -> str:
    return repr(error.doc[max(0, error.pos - 20) : error.pos + 20])


def reply_of(event: ModelReplied) -> ChatMessage:
    """The reply that the event tells of."""
    calls = [
        ChatMessageToolCall(
            ChatMessageToolCallFunction(call["function"]["name"], call["function"]["arguments"]), id=call["id"]
        )
        for call in event.tool_calls
    ]
    usage = None if event.input_tokens is None else read_usage(event)
    return ChatMessage(MessageRole.ASSISTANT, event.content, calls or None, token_usage=usage, cut_off=event.cut_off)
