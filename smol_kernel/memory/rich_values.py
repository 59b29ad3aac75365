"""Values with a form to show and a form to work with: text, images and audio that agents and tools hand over.

Pillow, numpy and soundfile are loaded when a value needs them, never by importing this module.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

from smol_kernel.errors import MissingDependencyError, ToolError, ToolTypeError
from smol_kernel.memory.foreign_pictures import GIVEN, MAX_GIVEN, opened


class AgentType:
    """A value that knows its plain form (`to_raw`) and a form as text (`to_string`)."""

    _value: Any

    def __init__(self, value: Any) -> None:
        self._value = value

    def to_raw(self) -> Any:
        """The value to work with."""
        return self._value

    def to_string(self) -> str:
        """The value as text; of an image or audio, the path of a file that holds it."""
        return str(self._value)

    def __str__(self) -> str:
        return self.to_string()


class AgentText(AgentType, str):
    """Text; it is a `str`. Another value is kept as it is, and its text is `str(value)`."""

    def __new__(cls, value: Any) -> AgentText:  # noqa: D102
        return str.__new__(cls, value)


class AgentImage(AgentType):
    """An image, made from a PIL image, a path, the bytes of an image file, or an array or tensor.

    Where Pillow is installed every instance is a `PIL.Image.Image` too, with size, pixels and methods of the image.
    A file is read when the image is first looked at. Arrays are (height, width) or (height, width, channels), those
    of a tensor also (channels, height, width); floats count from 0 to 1. Raises ToolTypeError for other values.
    """

    _raw: Any
    _path: str | None

    def __new__(cls, value: Any) -> AgentImage:  # noqa: D102
        # the base of Pillow is added to a class at its first instance, so that to know AgentImage loads nothing
        kind = cls.__dict__.get("_with_pillow") or _with_pillow(cls)
        return object.__new__(kind)

    def __init__(self, value: Any) -> None:
        self._raw, self._path = None, None
        if isinstance(value, AgentImage):
            self._raw, self._path = value._raw, value._path
            value = value._value
        elif isinstance(value, (str, os.PathLike)):
            self._path = os.fspath(cast("str | os.PathLike[str]", value))
        elif _is_pil_image(value):
            self._raw = value
        elif not (isinstance(value, (bytes, bytearray)) or _is_array(value)):
            raise ToolTypeError(
                f"AgentImage takes a PIL image, a path, the bytes of an image file or an array, not {value!r:.80}"
            )
        self._value = value

    def to_raw(self) -> Any:
        """The PIL image. Raises MissingDependencyError without Pillow, or for an array without numpy; OSError for what
        holds no image, ToolError for an array of neither two nor three dimensions."""
        if self._raw is None:
            image = _pillow()
            if _is_array(self._value):
                self._raw = image.fromarray(_pixels(self._value))
            else:
                given = self._value if isinstance(self._value, (bytes, bytearray)) else None
                with image.open(self._path) if given is None else opened(bytes(given), GIVEN, MAX_GIVEN) as picture:
                    picture.load()
                    self._raw = picture.copy()
        return self._raw

    def to_string(self) -> str:
        """The path of the image: the one it was made from, else of a PNG file written to the temporary folder. Raises
        as `to_raw`."""
        if self._path is None:
            path = _new_file(".png")
            self.to_raw().save(path)
            self._path = path
        return self._path

    def save(self, output_bytes: Any, format: str | None = None, **params: Any) -> None:
        """Write the image to a path or a file; PNG where neither `format` nor a path's name says otherwise. Raises as
        `to_raw`, and what Pillow raises."""
        if format is None and not isinstance(output_bytes, (str, os.PathLike)):
            format = "PNG"
        self.to_raw().save(output_bytes, format=format, **params)

    def _ipython_display_(self, include: Any = None, exclude: Any = None) -> None:
        from IPython.display import display  # pyright: ignore[reportUnknownVariableType]

        display(self.to_raw(), include=include, exclude=exclude)

    def __getattr__(self, name: str) -> Any:
        # what a PIL image consists of is taken over when it is first asked for
        if name.startswith("__") or "_raw" not in self.__dict__ or self.__dict__.get("_is_filled"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raw = self.to_raw()
        if hasattr(raw, "load"):
            raw.load()
        self.__dict__ |= {key: part for key, part in vars(raw).items() if key not in self.__dict__}
        self.__dict__["_is_filled"] = True
        return getattr(self, name)


def _with_pillow(cls: type) -> type:
    """The class with `PIL.Image.Image` as a further base; the class itself where Pillow is not installed."""
    try:
        from PIL import Image
    except ImportError:
        return cls
    kind = type(cls.__name__, (cls, Image.Image), {"__module__": cls.__module__, "__doc__": cls.__doc__})
    cast("Any", kind)._with_pillow = kind
    cast("Any", cls)._with_pillow = kind
    return kind


class AgentAudio(AgentType, str):
    """Audio, made from the path of a file, an array or tensor of samples, or `(samples a second, array)`.

    Samples are floats from -1 to 1, or integers of 16 bits; one channel, or (samples, channels). As a `str` it is
    empty or the path it was made from. `samplerate` is in samples a second. Raises ToolTypeError for other values.
    """

    samplerate: int
    _path: str | None
    _samples: Any

    def __new__(cls, value: Any, samplerate: int = 16_000) -> AgentAudio:  # noqa: D102
        return str.__new__(cls, os.fspath(value) if isinstance(value, (str, os.PathLike)) else "")

    def __init__(self, value: Any, samplerate: int = 16_000) -> None:
        super().__init__(value)
        self.samplerate, self._path, self._samples = samplerate, None, None
        if isinstance(value, AgentAudio):
            self.samplerate, self._path, self._samples = value.samplerate, value._path, value._samples
        elif isinstance(value, (str, os.PathLike)):
            self._path = os.fspath(cast("str | os.PathLike[str]", value))
        elif isinstance(value, tuple) and len(cast("tuple[Any, ...]", value)) == 2:
            self.samplerate, self._samples = int(cast("Any", value[0])), value[1]
        elif isinstance(value, list) or _is_array(value):
            self._samples = value
        else:
            raise ToolTypeError(f"AgentAudio takes a path, an array or (samplerate, array), not {value!r:.80}")

    def to_raw(self) -> Any:
        """The samples: as they were given, or read from the file as a numpy array of floats. Raises
        MissingDependencyError where that takes numpy or soundfile, OSError for a file that cannot be opened;
        soundfile, where it is installed, raises errors of its own."""
        if self._samples is None:
            self._samples, self.samplerate = _read_audio(str(self._path))
        return self._samples

    def to_string(self) -> str:
        """The path of the audio: the one it was made from, else of a WAV file written to the temporary folder. Raises
        MissingDependencyError without numpy, ToolError for samples of neither one nor two dimensions."""
        if self._path is None:
            path = _new_file(".wav")
            Path(path).write_bytes(wav(self._samples, self.samplerate))
            self._path = path
        return self._path

    def _ipython_display_(self, include: Any = None, exclude: Any = None) -> None:
        from IPython.display import Audio, display  # pyright: ignore[reportUnknownVariableType]

        display(Audio(filename=self.to_string()), include=include, exclude=exclude)


_KINDS: dict[str, type[AgentType]] = {"string": AgentText, "image": AgentImage, "audio": AgentAudio}


def handle_agent_output_types(output: Any, output_type: str | None = None) -> Any:
    """What a tool or an agent returned as an AgentType: by `output_type` where it is string, image or audio, else by
    the value's own type. Values that are neither text, image nor audio stay as they are, and so does None. Raises
    ToolTypeError for a value that cannot be the image or audio that `output_type` says it is."""
    if output is None or isinstance(output, AgentType):
        return output
    if output_type in _KINDS:
        return _KINDS[output_type](output)
    if isinstance(output, str):
        return AgentText(output)
    if _is_pil_image(output):
        return AgentImage(output)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(output, torch.Tensor):
        return AgentAudio(output)
    return output


async def handle_later(output: Awaitable[Any], output_type: str | None = None) -> Any:
    """The same for what an async tool will return."""
    return handle_agent_output_types(await output, output_type)


def handle_agent_input_types(*args: Any, **kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with the plain value in place of each AgentType."""
    return [_raw(value) for value in args], {name: _raw(value) for name, value in kwargs.items()}


def _raw(value: Any) -> Any:
    return value.to_raw() if isinstance(value, AgentType) else value


def _is_pil_image(value: Any) -> bool:
    image = sys.modules.get("PIL.Image")  # whoever has such an image has loaded it
    return image is not None and isinstance(value, image.Image)


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and hasattr(value, "shape")


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependencyError("an image needs Pillow to be read: pip install pillow") from error
    return Image


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise MissingDependencyError("arrays of images and audio need numpy: pip install numpy") from error
    return numpy


def _pixels(value: Any) -> Any:
    """An array or tensor as numpy bytes that Pillow reads: (height, width) or (height, width, channels)."""
    numpy, array = _numpy(), _as_numpy(value)
    if array.ndim == 3 and hasattr(value, "detach") and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3):
        raise ToolError(f"an array of shape {array.shape} is no image; give (height, width, channels)")
    if array.dtype.kind == "f":
        array = (numpy.nan_to_num(array) * 255).round()
    elif array.dtype.kind == "b":
        array = array * 255
    return numpy.ascontiguousarray(array.clip(0, 255).astype("uint8"))


def _as_numpy(value: Any) -> Any:
    return _numpy().asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _new_file(ending: str) -> str:
    import tempfile

    return str(Path(tempfile.mkdtemp(prefix="smol_")) / f"value{ending}")


def wav(samples: Any, samplerate: Any) -> bytes:
    """A WAV file of 16 bits a sample (https://docs.python.org/3/library/wave.html).

    `samples` are an array or tensor of shape (samples,) or (samples, channels), or channels first, as tensors have
    them: integers, of which those beyond 16 bits are cut to them, or floats from −1 to 1. `samplerate` is in samples a
    second. Raises ToolError for what is none.
    """
    import io
    import wave

    numpy, array = _numpy(), _as_numpy(samples)
    if array.ndim not in (1, 2) or array.dtype.kind not in "biuf":
        what = f"an array of {array.dtype} with shape {array.shape}"
        raise ToolError(f"{what} is no audio; give numbers, (samples,) or (samples, channels)")
    if array.ndim == 2 and array.shape[0] < array.shape[1]:
        array = array.T
    if array.dtype.kind == "f":
        array = numpy.nan_to_num(array.astype(numpy.promote_types(array.dtype, "f4"))).clip(-1, 1) * 32767
    elif array.dtype.kind != "b":
        range_ = numpy.iinfo(array.dtype)
        array = array.clip(max(range_.min, -32768), min(range_.max, 32767))
    buffer = io.BytesIO()
    try:
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1 if array.ndim == 1 else array.shape[1])
            file.setsampwidth(2)
            file.setframerate(samplerate)
            file.writeframes(array.astype("<i2").tobytes())
    except (wave.Error, struct.error, TypeError) as error:
        what = f"an array of shape {array.shape} with {samplerate!r:.80} samples a second"
        raise ToolError(f"{what} is no audio: {error}") from error
    return buffer.getvalue()


def _read_audio(path: str) -> tuple[Any, int]:
    """Samples as floats from -1 to 1, and samples a second: by soundfile if it is installed, else WAV only."""
    try:
        import soundfile  # pyright: ignore[reportMissingImports]
    except ImportError:
        return _read_wav(path)
    samples, samplerate = cast("Any", soundfile).read(path)
    return samples, int(samplerate)


def _read_wav(path: str) -> tuple[Any, int]:
    import wave

    numpy = _numpy()
    try:
        with wave.open(path, "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise MissingDependencyError(
            f"{path!r} is no WAV file of plain samples ({error}); other audio needs soundfile: pip install soundfile"
        ) from error
    if width == 1:  # unsigned, the only such width
        samples = numpy.frombuffer(data, "u1").astype("f8") / 128 - 1
    elif width == 3:
        parts = numpy.frombuffer(data, "u1").reshape(-1, 3)
        whole = numpy.zeros((len(parts), 4), "u1")
        whole[:, 1:] = parts
        samples = whole.view("<i4")[:, 0] / 2**31
    else:
        samples = numpy.frombuffer(data, f"<i{width}") / 2 ** (8 * width - 1)
    return (samples if channels == 1 else samples.reshape(-1, channels)), rate
