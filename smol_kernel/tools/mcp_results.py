"""What crosses in a call of an MCP tool: arguments as plain JSON, and the server's result as a Python value."""

from __future__ import annotations

import base64
import binascii
import json
import math
import numbers
from collections.abc import Mapping
from typing import Any, cast

from smol_kernel.errors import MCPServerError, MissingDependencyError, ToolError
from smol_kernel.memory.foreign_pictures import MAX_PIXELS, OF_TOOLS, TooLarge, opened
from smol_kernel.parsing import parsed_json
from smol_kernel.tools.mcp_process import MAX_COUNTED
from smol_kernel.tools.mcp_servers import plain_text

MAX_CONTENTS = 1_000
MAX_RESULT = 64 << 20
"""Characters of all contents of a result together."""
_MAX_NESTING = 64


def plain_argument(value: Any, path: str, depth: int = 0) -> Any:
    """`value` as JSON can say it: tuples, sets and arrays as lists, dates as ISO text, keys as strings.

    Raises ToolError for what it cannot say; `path` names the argument.
    """
    if value is None or type(value) in (bool, str, int):
        return value
    if depth > _MAX_NESTING:
        raise ToolError(f"{path} nests deeper than {_MAX_NESTING} levels, or contains itself")
    if isinstance(value, str):
        return str(value)
    if isinstance(value, numbers.Integral):
        return bool(value) if type(value).__name__.startswith("bool") else int(value)
    if isinstance(value, numbers.Real) or type(value).__name__ == "Decimal":
        number = float(cast("Any", value))
        if not math.isfinite(number):
            raise ToolError(f"{path} is {number}, which JSON cannot say. Pass None, or a number")
        return number
    if isinstance(value, Mapping):
        return {str(key): plain_argument(each, f"{path}[{key!r}]", depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_argument(each, f"{path}[{index}]", depth + 1) for index, each in enumerate(value)]
    kind = type(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if kind.__module__.split(".")[0] == "numpy" and hasattr(value, "tolist"):
        return plain_argument(value.tolist(), path, depth + 1)
    if kind.__name__ == "UUID" or hasattr(value, "__fspath__"):
        return str(value)
    advice = 'df.to_dict("records")' if hasattr(value, "to_dict") else "text, numbers, lists and dicts"
    raise ToolError(f"{path} is a {kind.__name__}, which an MCP server cannot take. Pass {advice}")


def all_arguments(value: Any, path: str) -> dict[str, Any]:
    """A plain value that holds all arguments of a tool that takes any. Raises ToolError for what is no dict."""
    if not isinstance(value, dict):
        raise ToolError(f"{path} holds the arguments by name. Pass a dict")
    return cast("dict[str, Any]", value)


def error_text(result: Any) -> str:
    """The texts of a result that is an error; of one without, its structured content."""
    parts = [getattr(each, "resource", each) for each in result.content[:MAX_CONTENTS]]
    said = "\n".join(getattr(part, "text", None) or "" for part in parts).strip()
    return said or _as_text(result) or "the server reported an error and did not say which"


def read_result(result: Any, structured: bool, where: str) -> Any:
    """The value of an SDK's CallToolResult.

    One content gives its value (text as str, an image as PIL image, audio and other data as bytes), several texts
    give one text, several of different kinds a list; none the structured content as text, or None. With `structured`
    that content goes before all, and a text that is JSON is read. `where` opens the message of the MCPServerError for
    what is too large or broken.
    """
    contents = result.content
    size = sum(len(_raw(each)) for each in contents)
    if len(contents) > MAX_CONTENTS or size > MAX_RESULT:
        raise MCPServerError(f"{where} the result is too large: {len(contents)} contents, {size:,} characters")
    if structured and result.structured_content is not None:
        return result.structured_content
    reading = _Reading()
    values = [reading.value(contents[0], where)] if len(contents) == 1 else [reading.spared(each) for each in contents]
    if not values:
        return _as_text(result)
    value = "\n".join(values) if all(isinstance(each, str) for each in values) else values
    if len(values) == 1:
        value = values[0]
    if structured and isinstance(value, str):
        try:
            return parsed_json(value.encode(errors="surrogatepass"), MAX_COUNTED, "surrogatepass")
        except (ValueError, RecursionError):
            return value
    return value


def _as_text(result: Any) -> str | None:
    """The structured content as JSON, for a result that says nothing else."""
    found = result.structured_content
    return None if found is None else json.dumps(found, ensure_ascii=False)


def _raw(content: Any) -> str:
    resource = getattr(content, "resource", content)
    return getattr(resource, "text", None) or getattr(resource, "data", None) or getattr(resource, "blob", None) or ""


class _Reading:
    """Reads the contents of one result, the images of which have MAX_PIXELS together."""

    def __init__(self) -> None:
        self._pixels = 0

    def spared(self, content: Any) -> Any:
        """The value of one content of several: a broken one does not cost the others."""
        try:
            return self.value(content, "left out:")
        except MCPServerError as error:
            return f"({error})"

    def value(self, content: Any, where: str) -> Any:
        """The value of one content."""
        if content.type == "text":
            return content.text
        if content.type == "image":
            return self._image(_bytes(content.data, where), content.mime_type, where)
        if content.type == "audio":
            return _bytes(content.data, where)
        if content.type == "resource":
            resource = content.resource
            if hasattr(resource, "text"):
                return resource.text
            data = _bytes(resource.blob, where)
            kind = str(resource.mime_type or "")
            return self._image(data, kind, where) if kind.startswith("image/") else data
        if content.type == "resource_link":
            return f"{content.title or content.name}: {content.uri}"
        raise MCPServerError(f"{where} a content of the unknown type {content.type!r}")

    def _image(self, data: bytes, kind: str, where: str) -> Any:
        """The image of a MIME type; a drawing in SVG is the text that it is."""
        if kind.partition(";")[0].strip().lower() == "image/svg+xml":
            return data.decode(errors="replace")
        try:
            image = opened(data, OF_TOOLS)
            pixels = image.width * image.height
            if self._pixels + pixels > MAX_PIXELS:
                raise TooLarge(f"with those before it comes to more than {MAX_PIXELS:,} pixels")
            self._pixels += pixels
            image.load()
        except ImportError as error:
            raise MissingDependencyError(
                f"{where} the result is an image, which needs Pillow. Install it: pip install 'smol-kernel[mcp]'"
            ) from error
        except Exception as error:  # noqa: BLE001 - boundary: decoders raise anything on what is broken
            known = type(error).__name__ != "UnidentifiedImageError"  # whose message names an object in memory
            reason = str(error) if known else f"it is none of {', '.join(OF_TOOLS)}"
            raise MCPServerError(f"{where} an image that cannot be read ({plain_text(kind, 100)}): {reason}") from None
        return image


def _bytes(data: str, where: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MCPServerError(f"{where} data that is no base64: {error}") from None
