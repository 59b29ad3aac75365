"""`CassetteModel`: a model whose replies are recorded in a file, and given again from it without key or network."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smol_kernel.errors import CassetteMissError, ConfigError, ModelError
from smol_kernel.events import ModelFellBack, Notice, emit, is_heard
from smol_kernel.memory.messages import (
    ChatMessage,
    ChatMessageStreamDelta,
    agglomerate_stream_deltas,
    pieces_of,
)
from smol_kernel.models.base import IN_CASSETTE, Model
from smol_kernel.models.call import times_begun_again
from smol_kernel.models.callables import stream_of
from smol_kernel.models.cassette_file import (
    TOO_LONG,
    Tape,
    add_reply,
    check_writable,
    named,
    read_tape,
    refuse_another,
    reply_from_dict,
    reply_to_dict,
)
from smol_kernel.models.cassette_requests import difference, keep_all_secret, key_of, plain_parameters, request_of
from smol_kernel.models.failures import is_too_long
from smol_kernel.models.fallback import as_model
from smol_kernel.models.quirks import Kind, supports_stop_parameter
from smol_kernel.models.requests import given_options

if TYPE_CHECKING:
    from smol_kernel.tools.base import Tool

MODES = ("auto", "replay", "record")
MODE_VARIABLE = "SMOL_CASSETTE_MODE"
MARK = " (cassette)"
"""Behind the model's id in every account of a run with a cassette."""


def mode_of(mode: str | None) -> str:
    """The mode that counts: `mode`, else that of the environment, else "auto".

    SMOL_CASSETTE_MODE=replay goes before all others: where it is set nothing is asked and nothing recorded. Raises
    ConfigError for a mode that there is not.
    """
    told = os.environ.get(MODE_VARIABLE) or None
    for name, value in (("mode", mode), (MODE_VARIABLE, told)):
        if value is not None and value not in MODES:
            raise ConfigError(f"{name} of a cassette is {value!r}; there are {', '.join(MODES)}")
    return "replay" if told == "replay" else mode or told or "auto"


class CassetteModel(Model):
    """`model`, with its replies kept in the JSON file `path`, the cassette.

        model = CassetteModel(LiteLLMModel("openai/gpt-4.1-mini"), "cassettes/sales.json")

    `mode`: "auto" gives the recorded reply to a request that is in the file, and asks the model for the others;
    "replay" never asks it, and raises CassetteMissError for a request that is not in the file (`model` may be None);
    "record" asks for every request, puts the new reply in the place of the old ones, and leaves what it does not meet;
    a file of another model it begins anew. None: SMOL_CASSETTE_MODE, else "auto". With SMOL_CASSETTE_MODE=replay all
    cassettes replay.

    A request is its messages and options, without keys (see `cassette_requests.request_of`). Several replies to one
    request are given in the order of their recording. A file belongs to one model and its parameters. What a model
    raises is not recorded. Raises ConfigError for a file that does not serve (of another model, of a newer version,
    damaged, missing where it is to be replayed), ModelError for one that cannot be written.
    """

    def __init__(self, model: Any, path: str | Path, mode: str | None = None) -> None:
        self.mode = mode_of(mode)
        if isinstance(path, Model):
            raise ConfigError(f"the path of a cassette is a {type(path).__name__}: CassetteModel(model, 'FILE.json')")
        self.path = Path(os.path.realpath(Path(path).expanduser()))
        self.model = None if model is None else as_model(model)
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._tape: Tape | None = None
        self._wrote = False
        self._given: dict[str, int] = {}
        """Key of a request → how many replies to it this model has given."""
        self._last = ""
        """Key of the request that it gave a reply to last."""
        self._empty = self._tape_of(self.model)
        tape = self._read()
        if self.mode == "replay" and tape is None:
            raise ConfigError(f"there is no cassette {named(self.path)!r} to replay. {_how_to_record()}")
        if self.model is None and (tape is None or self.mode == "record"):
            raise ConfigError(f"no model is given to record the cassette {named(self.path)!r} with; pass one")
        if self.mode == "record":
            check_writable(self.path)
        self.inner_id = tape.model if tape is not None and self.mode != "record" else self._empty.model
        super().__init__(model_id=self.inner_id + MARK)
        self.in_thread = self.in_thread and (self.model is None or self.model.in_thread)

    def __repr__(self) -> str:
        return f"CassetteModel({self.model!r}, {str(self.path)!r}, mode={self.mode!r})"

    @property
    def scripted(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether replies of the cassette came from a script, or those of the model do."""
        return self._empty.scripted or (self.mode != "record" and self._tape is not None and self._tape.scripted)

    @property
    def server_address(self) -> str | None:
        """That of the model; it is not recorded in the cassette."""
        return self.model.server_address if self.model is not None else None if self.scripted else IN_CASSETTE

    @property
    def given_address(self) -> str | None:
        """That of the model."""
        return self.model.given_address if self.model is not None else None

    @property
    def named_as(self) -> list[str]:
        """Those of the model."""
        return self.model.named_as if self.model is not None else []

    @property
    def slow_start(self) -> str | None:
        """That of the model where it is sure to be asked."""
        asked = self.mode == "record" or self._tape is None
        return self.model.slow_start if self.model is not None and asked else None

    @property
    def supports_stop_parameter(self) -> bool:
        """That of the model."""
        return supports_stop_parameter(self.inner_id) if self.model is None else self.model.supports_stop_parameter

    def takes(self, kind: Kind) -> bool | None:
        """What the model takes; None, unknown, where it is not asked."""
        return None if self.model is None or self.mode == "replay" else self.model.takes(kind)

    def parse_tool_calls(self, message: ChatMessage) -> ChatMessage:
        """As the model reads them."""
        return super().parse_tool_calls(message) if self.model is None else self.model.parse_tool_calls(message)

    def fall_back(self, reason: Exception) -> ModelFellBack | None:
        """What the model tells; without one that the next was asked, where the file has its reply too."""
        if self.model is not None:
            return self.model.fall_back(reason)
        tape, name = self._read(), self.model_id or ""
        with self._lock:
            entry = tape.entries.get(self._last) if tape is not None else None
            follows = entry is not None and self._given[self._last] < len(entry.replies)
        return ModelFellBack(failed=name, model=name, reason=str(reason)) if follows else None

    def to_dict(self) -> dict[str, Any]:
        """The settings, those of the model among them; no keys."""
        inner = self.model and {"class": type(self.model).__name__, "data": self.model.to_dict()}
        return {"model": inner, "path": str(self.path), "mode": self.mode}

    @classmethod
    def from_dict(cls, model_dictionary: dict[str, Any]) -> CassetteModel:
        """The inverse of `to_dict`."""
        from smol_kernel.models.registry import model_from_dict  # it knows this class too

        inner = model_dictionary["model"]
        model = inner and model_from_dict(inner["class"], inner["data"])
        return cls(model, model_dictionary["path"], model_dictionary["mode"])

    def generate(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """The recorded reply, or the model's own. Raises CassetteMissError, ModelError."""
        request = request_of(messages, stop_sequences, response_format, tools_to_call_from, kwargs)
        recorded = self._recorded(request)
        if recorded is not None:
            return recorded
        options = given_options(stop_sequences, response_format, tools_to_call_from, kwargs)
        with self._asked(request) as model:
            reply: Any = model.generate(messages, **options)
        if isinstance(reply, ChatMessage):  # else the loop tells what is wrong with it
            self._keep(request, reply_to_dict(reply))
        return reply

    def generate_stream(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Tool] | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatMessageStreamDelta]:
        """The same in pieces. Only a reply that came to its end is recorded. Raises as `generate`."""
        request = request_of(messages, stop_sequences, response_format, tools_to_call_from, kwargs)
        recorded = self._recorded(request)
        if recorded is not None:
            yield from pieces_of(recorded)
            return
        options = given_options(stop_sequences, response_format, tools_to_call_from, kwargs)
        pieces: list[ChatMessageStreamDelta] = []
        begun = times_begun_again()
        with self._asked(request) as model, closing(stream_of(model, messages, options)) as stream:
            for piece in stream:
                if begun != (begun := times_begun_again()):
                    pieces.clear()  # what came before was taken back
                pieces.append(piece)
                yield piece
        self._keep(request, reply_to_dict(agglomerate_stream_deltas(pieces)))

    def _recorded(self, request: dict[str, Any]) -> ChatMessage | None:
        """The reply that the file has for `request`; None: the model is to be asked. Raises CassetteMissError."""
        tape = self._read()
        if self.mode == "record":
            return None
        key = key_of(request)
        entries = tape.entries if tape is not None else {}
        replies = entries[key].replies if key in entries else []
        with self._lock:
            place = self._given.get(key, 0)
            if place < len(replies):
                self._given[key], self._last = place + 1, key
        if place < len(replies):
            return reply_from_dict(replies[place])
        if self.mode == "auto" and self.model is not None:
            return None
        if replies:
            raise CassetteMissError(
                f"the cassette {named(self.path)!r} has {len(replies)} replies to this request, and it came once more. "
                f"{_how_to_record()}"
            )
        told = difference(request, (entry.request for entry in entries.values()))
        found = (
            f"From the nearest of its {len(entries)} requests it differs in this:\n{told}" if told else "It is empty."
        )
        raise CassetteMissError(
            f"the cassette {named(self.path)!r} has no reply to this request. {found}\n{_how_to_record()}"
        )

    @contextmanager
    def _asked(self, request: dict[str, Any]) -> Generator[Any]:
        """The model, to be asked; raises ModelError where its reply could not be kept."""
        check_writable(self.path)
        try:
            yield self.model
        except Exception as error:
            if is_too_long(error):
                self._keep(request, TOO_LONG)  # an answer, after its kind: what comes next rests on it
            raise

    def _keep(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        """Write the reply to the file. Where that cannot be, a run is told so and has the reply, which was paid for."""
        key = key_of(request)
        try:
            with self._lock:
                anew = self.mode == "record" and key not in self._given
                begins = self.mode == "record" and not self._wrote
                self._tape = add_reply(self.path, self._empty_copy(), request, reply, anew=anew, begins=begins)
                self._given[key] = self._given.get(key, 0) + 1
                self._wrote = True
                self._seen = None
        except ModelError as error:
            if not is_heard():
                raise
            emit(Notice(text=f"This run goes on, but a reply of its model is not kept: {error}", lasting=True))

    def _read(self) -> Tape | None:
        """What the file holds now. Raises ModelError where it is of another model."""
        with self._lock:
            seen = _stamp(self.path)
            if seen is None or seen != self._seen:
                self._tape = read_tape(self.path)
                self._seen = seen
            if self._tape is not None and self.model is not None and self.mode != "record":
                refuse_another(self.path, self._tape, self._empty)
            return self._tape

    def _empty_copy(self) -> Tape:
        return Tape(self._empty.model, self._empty.parameters, self._empty.scripted)

    @staticmethod
    def _tape_of(model: Model | None) -> Tape:
        """A tape for the replies of `model`, without any; its keys are known from now on."""
        if model is None:
            return Tape("", {}, False)
        several: list[Model] = getattr(model, "models", None) or [model]
        for each in several:
            keep_all_secret({**vars(each), **each.kwargs})
        given = {each.model_id or type(each).__name__: plain_parameters(each.kwargs) for each in several}
        parameters = next(iter(given.values())) if len(given) == 1 else {k: v for k, v in given.items() if v}
        return Tape(",".join(given), parameters, model.scripted)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _how_to_record() -> str:
    return (
        "To record, run it once where the model can be asked, in the mode auto, which asks only for what is missing, "
        f"or record, which asks for all (--cassette-mode, {MODE_VARIABLE}, or mode= of CassetteModel)."
    )
