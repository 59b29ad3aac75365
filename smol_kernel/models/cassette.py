"""`CassetteModel`: records a model's replies in a file, and plays them again without key or network. For CI.

The file is JSON, to be read in a diff and committed: `messages`, each once with the lines of its text; `calls`, each a
request (the numbers of its messages, and the options that change a reply) with its replies in order. Keys, addresses
and headers are never in it; images and sounds are there by digest.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, cast

from smol_kernel.errors import CassetteMissError, ConfigError, ModelError
from smol_kernel.memory.known_secrets import redacted
from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    MessageRole,
    agglomerate_stream_deltas,
    pieces_of,
)
from smol_kernel.memory.usage import TokenUsage
from smol_kernel.models.base import Model, as_model
from smol_kernel.models.quirks import Kind
from smol_kernel.models.requests import get_tool_json_schema

VERSION = 1
"""Of the file's form; raised by one whenever it changes."""
Mode = Literal["replay", "record", "auto"]
MODES = ("replay", "record", "auto")
PARAMETERS = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "reasoning_effort", "thinking")
"""Of the model's own settings those that change a reply."""
LONGEST_DIFFERENCE = 40
"""Lines of the difference that a miss shows."""
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")


class CassetteModel(Model):
    """Stands before `model` and keeps its replies in the file `path`.

    `mode`: "replay" gives recorded replies only, and a request that is not there is an error; "record" asks the model
    and begins the file anew with its first reply; "auto" replays what is there and records the rest. For "replay"
    `model` may be None. Raises ConfigError for a file that is no cassette, or one of another model.
    """

    def __init__(self, model: Any, path: str | Path, mode: Mode = "auto") -> None:
        if mode not in MODES:
            raise ConfigError(f"cassette mode {mode!r}: give one of {', '.join(MODES)}")
        self.path, self.mode = Path(path).expanduser(), mode
        self._live = None if model is None else as_model(model)
        if self._live is None and mode == "record":
            raise ConfigError("cassette mode record: name the model that is to be asked")
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._tape = (
            _Tape(self.path, self._header(), False) if mode == "record" else _read(self.path, mode, self._header())
        )
        if self._live is not None and self._tape.header != (mine := self._header()):
            different = [f"{name} {self._tape.header.get(name)!r}, and now {mine[name]!r}" for name in mine
                         if mine[name] != self._tape.header.get(name)]  # fmt: skip
            raise ConfigError(
                f"cassette {self.path} was recorded with {'; '.join(different)}: record it anew (mode record), or to "
                "replay it name no model"
            )
        self.scripted = bool(self._tape.header.get("scripted"))
        super().__init__(model_id=f"{self._tape.header.get('model')} (cassette)")

    @property
    def slow_start(self) -> str | None:
        """Nothing has to be loaded for what is recorded; whether that will do is not known before it is asked."""
        return self._live.slow_start if self._live is not None and self.mode == "record" else None

    @property
    def supports_stop_parameter(self) -> bool:
        """As the model says."""
        return self._live is None or self._live.supports_stop_parameter

    def takes(self, kind: Kind) -> bool | None:
        """As the model said when it was recorded."""
        known = self._tape.takes
        if kind not in known and self._live is not None:
            known[kind] = self._live.takes(kind)
        return known.get(kind)

    def generate(self, messages: list[ChatMessage], *args: Any, **options: Any) -> ChatMessage:
        """The recorded reply, or the model's own, which is recorded. Raises CassetteMissError where neither is."""
        options |= zip(("stop_sequences", "response_format", "tools_to_call_from"), args, strict=False)
        texts, asked = [_normal(message) for message in messages], _normal_options(options)
        key = json.dumps([texts, asked], sort_keys=True)
        with self._lock:
            number = self._asked[key]
            self._asked[key] += 1
        recorded = self._tape.replies(texts, asked) if self.mode != "record" or number else []
        if self.mode != "record" and number < len(recorded):
            return _message(recorded[number])
        if self._live is None or self.mode == "replay":
            raise self._miss(texts, asked, number)
        reply = self._ask(messages, options)
        with self._lock:
            self._tape.add(texts, asked, _plain(reply))
        return reply

    def generate_stream(
        self, messages: list[ChatMessage], *args: Any, **options: Any
    ) -> Iterator[ChatMessageStreamDelta]:
        """The same in pieces."""
        yield from pieces_of(self.generate(messages, *args, **options))

    def to_dict(self) -> dict[str, Any]:
        """The model's settings, and the cassette."""
        own = {} if self._live is None else self._live.to_dict()
        return {**own, "cassette": str(self.path), "mode": self.mode}

    def _ask(self, messages: list[ChatMessage], options: dict[str, Any]) -> ChatMessage:
        """The model's reply; one that can only stream is asked for the pieces."""
        live = cast("Any", self._live)
        try:
            return live.generate(messages, **options)
        except NotImplementedError:
            if not hasattr(live, "generate_stream"):
                raise
            return agglomerate_stream_deltas(live.generate_stream(messages, **options))

    def _header(self) -> dict[str, Any]:
        if self._live is None:
            return {}
        settings = {name: self._live.kwargs[name] for name in PARAMETERS if self._live.kwargs.get(name) is not None}
        return {"model": self._live.model_id, "scripted": self._live.scripted, "parameters": settings}

    def _miss(self, texts: list[dict[str, Any]], options: dict[str, Any], number: int) -> CassetteMissError:
        how = "record it: --cassette-mode auto or record, with a model"
        if number:
            return CassetteMissError(
                f"cassette {self.path} has this request {number} times, and it came once more: {how}"
            )
        nearest = self._tape.nearest(texts)
        if nearest is None:
            return CassetteMissError(f"cassette {self.path} is empty: {how}")
        old, new = _lines(*nearest), _lines(texts, options)
        told = list(difflib.unified_diff(old, new, "recorded", "asked", lineterm="", n=2))
        more = [f"… and {len(told) - LONGEST_DIFFERENCE} lines more"] if len(told) > LONGEST_DIFFERENCE else []
        difference = "\n".join([*told[:LONGEST_DIFFERENCE], *more])
        return CassetteMissError(f"cassette {self.path} has no reply to this; {how}. What differs:\n{difference}")


class _Tape:
    """What a cassette holds, and how it is written."""

    def __init__(self, path: Path, header: dict[str, Any], merging: bool) -> None:
        self.path, self.header, self.merging = path, header, merging
        self.written: str | None = None
        """What was written last."""
        self.takes: dict[str, bool | None] = {}
        self.calls: list[tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, Any]]]] = []
        self._found: dict[str, list[dict[str, Any]]] = {}

    def put(self, texts: list[dict[str, Any]], options: dict[str, Any], reply: dict[str, Any]) -> None:
        """Hold a reply, behind those to the same request."""
        key = json.dumps([texts, options], sort_keys=True)
        if key not in self._found:
            self._found[key] = []
            self.calls.append((texts, options, self._found[key]))
        self._found[key].append(reply)

    def replies(self, texts: list[dict[str, Any]], options: dict[str, Any]) -> list[dict[str, Any]]:
        """The replies to a request, in their order."""
        return self._found.get(json.dumps([texts, options], sort_keys=True), [])

    def nearest(self, texts: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
        """The request that has the most in common with these messages."""

        def likeness(call: tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, Any]]]) -> tuple[int, int]:
            same = next((n for n, pair in enumerate(zip(call[0], texts, strict=False)) if pair[0] != pair[1]), 0)
            same = same if call[0][: len(texts)] != texts[: len(call[0])] else min(len(call[0]), len(texts))
            return same, -abs(len(call[0]) - len(texts))

        return max(self.calls, key=likeness)[:2] if self.calls else None

    def add(self, texts: list[dict[str, Any]], options: dict[str, Any], reply: dict[str, Any]) -> None:
        """Hold a reply, and write all that is held: whole, or not at all. Raises ModelError if it cannot be written."""
        with _alone(self.path):
            self._add(texts, options, reply)

    def _add(self, texts: list[dict[str, Any]], options: dict[str, Any], reply: dict[str, Any]) -> None:
        there = self.path.read_text(encoding="utf-8") if self.path.exists() else None
        if self.merging and there is not None and there != self.written:
            for call in _read(self.path, "auto", self.header).calls:  # another process has recorded meanwhile
                for other in call[2][len(self.replies(*call[:2])) :]:
                    self.put(*call[:2], other)
        elif self.written is not None and there != self.written:
            raise ModelError(f"cassette {self.path} is written by somebody else too: record one at a time")
        self.put(texts, options, reply)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = self.text()
            beside.write_text(text, encoding="utf-8")
            os.replace(beside, self.path)
            self.written = text
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise ModelError(f"cassette {self.path} cannot be written: {error.strerror}; the reply is lost") from error

    def text(self) -> str:
        """The file."""
        numbers: dict[str, int] = {}
        messages: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        for texts, options, replies in self.calls:
            for text in texts:
                if (key := json.dumps(text, sort_keys=True)) not in numbers:
                    numbers[key] = len(messages)
                    messages.append(text)
            asked = [numbers[json.dumps(text, sort_keys=True)] for text in texts]
            calls.append({"messages": asked, "options": options, "replies": replies})
        whole = {"cassette": VERSION, **self.header, "takes": self.takes, "messages": messages, "calls": calls}
        return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Meanwhile no other process of ours writes into the folder of `path`."""
    try:
        import fcntl
    except ImportError:  # Windows: nobody holds the others off there
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _read(path: Path, mode: Mode, header: dict[str, Any]) -> _Tape:
    """The cassette at `path`; an empty one where there is none to replay. Raises ConfigError."""
    if not path.exists() and mode == "auto" and header:
        return _Tape(path, header, True)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no cassette {path}: record one with --cassette-mode record, and a model") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cassette {path} cannot be read: {error}") from None
    version = data.get("cassette") if isinstance(data, dict) else None
    if type(version) is int and version > VERSION:
        raise ConfigError(f"cassette {path} is of a newer form ({version}, known is {VERSION}): upgrade smol-kernel")
    try:
        tape = _Tape(path, {name: data[name] for name in ("model", "scripted", "parameters")}, True)
        tape.takes = dict(data["takes"])
        for call in data["calls"]:
            for reply in call["replies"]:
                _message(reply)
                tape.put([data["messages"][number] for number in call["messages"]], call["options"], reply)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path} is no cassette: {type(error).__name__}: {error}") from None
    return tape


def _normal(message: ChatMessage | dict[str, Any]) -> dict[str, Any]:
    """A message as it is recorded: role, lines of text, digests of the rest."""
    message = message if isinstance(message, ChatMessage) else ChatMessage.from_dict(message)
    parts = message.content if isinstance(message.content, list) else []
    normal: dict[str, Any] = {"role": MessageRole(message.role).value, "text": _split(message.text)}
    media = [f"{part.get('type')} {_digest(part)}" for part in parts if part.get("type") != "text"]
    if media:
        normal["media"] = media
    if message.tool_calls:
        normal["tool_calls"] = redacted([call.dict() for call in message.tool_calls])
    return normal


def _split(text: str) -> list[str]:
    return _ADDRESS.sub("0x…", redacted(text)).split("\n")


def _digest(part: dict[str, Any]) -> str:
    """Of an image or a sound."""
    value: Any = next((value for name, value in part.items() if name != "type"), None)
    raw = value.tobytes() if hasattr(value, "tobytes") else value if isinstance(value, bytes) else str(value).encode()
    return hashlib.sha256(raw).hexdigest()[:16]


def _normal_options(options: dict[str, Any]) -> dict[str, Any]:
    """What of a request besides its messages changes the reply."""
    normal: dict[str, Any] = {}
    for name in ("stop_sequences", "response_format", *PARAMETERS):
        if options.get(name):
            normal[name] = options[name]
    if tools := options.get("tools_to_call_from"):
        normal["tools"] = [get_tool_json_schema(tool) for tool in tools]
    return json.loads(json.dumps(normal))


def _lines(texts: list[dict[str, Any]], options: dict[str, Any]) -> list[str]:
    """A request as lines, for a difference."""
    lines = json.dumps(options, indent=1, sort_keys=True, ensure_ascii=False).split("\n")
    for text in texts:
        lines += [f"{text['role']}:", *text["text"], *text.get("media", [])]
        lines += [json.dumps(call) for call in text.get("tool_calls", [])]
    return lines


def _plain(reply: ChatMessage) -> dict[str, Any]:
    data = reply.dict()
    plain: dict[str, Any] = {"text": redacted(reply.text).split("\n")}
    if data["tool_calls"]:
        plain["tool_calls"] = redacted(data["tool_calls"])
    if data["token_usage"]:
        plain["usage"] = data["token_usage"]
    return plain


def _message(plain: dict[str, Any]) -> ChatMessage:
    usage = plain.get("usage")
    counts = None
    if usage is not None:
        counts = TokenUsage(
            usage["input_tokens"], usage["output_tokens"], usage.get("cached_tokens") or 0, usage.get("cost")
        )
    return ChatMessage(MessageRole.ASSISTANT, "\n".join(plain["text"]), plain.get("tool_calls"), token_usage=counts)
