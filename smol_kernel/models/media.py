"""Images, audio and video in messages, made ready for a provider: parts of OpenAI's chat completions API, or a note in
the place of what the model cannot take. Called by `api.py` before each request."""

from __future__ import annotations

import base64
import importlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from smol_kernel.errors import MissingDependencyError, ModelError, ToolError
from smol_kernel.memory.foreign_pictures import GIVEN, MAX_GIVEN, TooLarge, opened
from smol_kernel.memory.rich_values import wav

FRAMES = 8
"""How many frames of a video are shown to a model that takes images only."""
LARGEST_SIDE = 768
"""Pixels of the longer side of such a frame, at most."""

_IMAGES = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"GIF8", "image/gif"), (b"<svg", "image/svg+xml"))
_SVG_HEAD = rb"\s|<\?(?:(?!\?>).)*\?>|<!--(?:(?!-->).)*-->|<!(?i:DOCTYPE)\s+svg[^>\[]*(?:\[[^\]]*\]\s*)?>"
_SVG, _HEAD = re.compile(rb"(?:" + _SVG_HEAD + rb")*<svg\b", re.DOTALL), 10_000
"""Begins a drawing: it is the root, after what may stand before it, in so many bytes."""
_AUDIO = ((b"ID3", "mp3"), (b"\xff\xfb", "mp3"), (b"\xff\xf3", "mp3"), (b"fLaC", "flac"), (b"OggS", "ogg"))
_VIDEO_SUFFIXES = {".webm": "video/webm", ".mov": "video/quicktime", ".mkv": "video/x-matroska", ".avi": "video/avi"}

MEDIA: tuple[Literal["image", "audio", "video"], ...] = ("image", "audio", "video")
"""The kinds of parts that not every model takes."""
Takes = Callable[[Literal["image", "audio", "video"]], bool | None]
"""Whether a model takes a kind ("image", "audio", "video"); None where that is not known."""


def sendable(
    content: str | list[dict[str, Any]] | None, takes: Takes, who: str
) -> tuple[str | list[dict[str, Any]] | None, list[str]]:
    """`content` as the model `who` can take it, and the kinds of what was left out.

    A part is `{"type": KIND, KIND: value}`. An image is a PIL image, bytes, a path, a data URL or an http(s) URL;
    audio is a path, bytes, or a pair (samples a second, array); a video is a path, bytes or a URL. A video goes as
    it is to a model that takes videos, and as frames to one that takes images. What the model cannot take is named in
    its place. Other parts are the provider's own and stay. Raises ModelError, MissingDependencyError.
    """
    if not isinstance(content, list):
        return content, []
    ready: list[dict[str, Any]] = []
    left_out: list[str] = []
    for part in content:
        kind: Any = part.get("type")
        if kind not in _CONVERT:
            ready.append(part)
            continue
        convert = _CONVERT[kind] if takes(kind) is not False else None
        if kind == "video" and not takes("video"):
            convert = video_frames if takes("image") is not False else None
        if convert is not None:
            ready += convert(part[kind])
        else:
            ready.append({"type": "text", "text": f"[{kind} left out: {who} takes none]"})
            left_out.append(kind)
    return ready, left_out


def image_url(image: Any) -> str:
    """An image as a URL: an http(s) or data URL as it is, all others as a data URL. Raises ModelError."""
    if isinstance(image, str) and image.startswith(("data:image/", "http://", "https://")):
        return image
    data = image_bytes(image)
    kind = "image/webp" if data[8:12] == b"WEBP" else _sniffed(data, _IMAGES)
    if kind is None and _SVG.match(data[:_HEAD].removeprefix(b"\xef\xbb\xbf")):
        kind = "image/svg+xml"
    if kind is None:
        data, kind = _converted(data), "image/png"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _converted(data: bytes) -> bytes:
    """A file of another format, such as TIFF, as a PNG. It may be from a record, so few are read. Raises ModelError."""
    try:
        with opened(data, GIVEN, MAX_GIVEN) as image:
            return _png(image)
    except ImportError:
        why = "to convert another format needs the package pillow"
    except TooLarge as error:
        why = str(error)
    except Exception:  # noqa: BLE001 - boundary: PIL's own, of what is no image
        why = "Pillow cannot read it"
    raise ModelError(f"cannot send an image that begins with {data[:8]!r}: {why}. Send PNG, JPEG, GIF or WebP")


def image_bytes(image: Any) -> bytes:
    """The file of a PIL image (as a PNG), of bytes, or at a path. Raises ModelError."""
    image = image.to_raw() if hasattr(image, "to_raw") else image
    save = getattr(image, "save", None)
    if callable(save):
        return _png(image)
    return _file(image, "an image: a PIL image, bytes, a path, or a URL")


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    try:
        _for_png(image).save(buffer, format="PNG")
    except Exception as error:  # boundary: PIL's own, of an image without pixels or of a strange mode
        raise ModelError(f"cannot send {image!r:.80} as an image: {error}") from error
    return buffer.getvalue()


def _for_png(image: Any) -> Any:
    """The same in a mode that PNG has."""
    if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        return image
    if image.mode[0] not in "IF":
        return image.convert({"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}.get(image.mode, "RGB"))
    image = image.convert("F")  # of numbers beyond 255 all else would be one white
    low, high = image.getextrema()
    scale = 255 / ((high - low) or 1)
    return image.point(lambda value: value * scale - low * scale).convert("L")


def _image_parts(image: Any) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": image_url(image)}}]


def _audio_parts(audio: Any) -> list[dict[str, Any]]:
    data = audio_bytes(audio)
    kind = "wav" if data[:4] == b"RIFF" else _sniffed(data, _AUDIO)
    if kind is None and isinstance(audio, (str, Path)):
        kind = Path(audio).suffix.removeprefix(".").lower()
    if not kind:
        raise ModelError(f"cannot tell the format of audio that begins with {data[:8]!r}; send WAV or MP3")
    return [{"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": kind}}]


def audio_bytes(audio: Any) -> bytes:
    """The file of audio: bytes, the file at a path, or a pair (samples a second, array) as WAV. Raises ModelError.

    The array is as of AgentAudio: integers of 16 bits, or floats from −1 to 1; channels are its second dimension.
    """
    if isinstance(audio, tuple) and len(audio) == 2:
        try:
            return wav(audio[1], audio[0])
        except ToolError as error:
            raise ModelError(f"cannot send this audio: {error}") from error
    to_string = getattr(audio, "to_string", None)  # AgentAudio: the path of its file
    audio = to_string() if callable(to_string) else audio
    return _file(audio, "audio: a path, bytes, or a pair (samples a second, array)")


def _video_parts(video: Any) -> list[dict[str, Any]]:
    """The video itself, in the form that LiteLLM translates for Gemini and Bedrock."""
    if isinstance(video, str) and video.startswith(("http://", "https://")):
        return [{"type": "file", "file": {"file_id": video, "format": _video_type(video)}}]
    data = _file(video, "a video: a path or bytes")
    url = f"data:{_video_type(video)};base64,{base64.b64encode(data).decode()}"
    return [{"type": "file", "file": {"file_data": url}}]


def video_frames(video: Any, count: int = FRAMES) -> list[dict[str, Any]]:
    """Up to `count` frames of a video, evenly spread, as image parts, each with its time.

    Raises ModelError if it cannot be read, MissingDependencyError without the package av.
    """
    try:
        av: Any = importlib.import_module("av")
    except ImportError as error:
        raise MissingDependencyError(
            "a video is sent as frames to this model, and taking frames needs the package av: "
            "pip install 'smol-kernel[media]'"
        ) from error
    source = io.BytesIO(_file(video, "a video: a path or bytes"))
    parts: list[dict[str, Any]] = []
    try:
        with av.open(source) as container:
            for seconds, picture in _spread(container, count):
                parts.append({"type": "text", "text": f"[video, frame at {seconds:.1f} s]"})
                parts += _image_parts(picture)
    except av.FFmpegError as error:
        raise ModelError(f"cannot read a video: {error}") from error
    if not parts:
        raise ModelError("cannot read a video: it has no frames")
    return parts


def _spread(container: Any, count: int) -> list[tuple[float, bytes]]:
    """(seconds, JPEG) of frames at even distances, decoded from front to back."""
    stream = container.streams.video[0]
    length = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
    step = length / count
    chosen: list[tuple[float, bytes]] = []
    for frame in container.decode(stream):
        if frame.time is None or frame.time < len(chosen) * step:
            continue
        picture = frame.to_image()
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG")
        chosen.append((frame.time, buffer.getvalue()))
        if len(chosen) == count:
            break
    return chosen


def _video_type(video: Any) -> str:
    suffix = Path(video).suffix.lower() if isinstance(video, (str, Path)) else ""
    if isinstance(video, bytes) and video.startswith(b"\x1aE\xdf\xa3"):
        suffix = ".webm"
    return _VIDEO_SUFFIXES.get(suffix, "video/mp4")


def _file(source: Any, wanted: str) -> bytes:
    """The bytes of `source`: bytes already, or of the file at a path."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if not isinstance(source, (str, Path)):
        raise ModelError(f"cannot send {source!r:.80} as {wanted}")
    try:
        return Path(source).read_bytes()
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {str(source)!r:.80} ({error}); send {wanted}") from error


def _sniffed(data: bytes, signs: tuple[tuple[bytes, str], ...]) -> str | None:
    return next((kind for sign, kind in signs if data.startswith(sign)), None)


_CONVERT: dict[Any, Callable[[Any], list[dict[str, Any]]]] = {
    "image": _image_parts,
    "audio": _audio_parts,
    "video": _video_parts,
}
