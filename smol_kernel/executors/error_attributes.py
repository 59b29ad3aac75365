"""What an error of a tool holds besides its words, as far as the child and the record may have it: plain, short values.

Errors of clients hold requests, headers and keys as well. What is an object stays in the host, and so does what is
secret by its name, and a text that is not plainly no key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from smol_kernel.executors.recorded import RecordedError
from smol_kernel.memory.known_secrets import INSTEAD, SECRET_NAME, is_secret_setting, redacted
from smol_kernel.memory.plainly_no_key import is_plainly_no_key, speaks_of_keys

MOST = 20
LONGEST = 200
"""Characters of one of them, as JSON."""
STATUS = "response.status_code"
_OF_THE_SYSTEM = ("errno", "strerror", "filename", "filename2")
_CLOSED = re.compile(r"header|request(?!_?id$)", re.IGNORECASE)
_ID = re.compile(r"(?<!key)(?<!Key)(_id|Id)$|^id$")
"""Names of what is looked up by it, as a request or a job is, and looks like a key."""


def attributes_of(error: BaseException | None) -> dict[str, Any]:
    """The attributes of an error, or those that it had when it was recorded; `response.status_code` is that of its
    response. Known secrets are in none of them."""
    if error is None or isinstance(error, RecordedError):
        return error.attributes if error else {}
    try:
        return dict(list(_open(error))[:MOST])
    except Exception:  # noqa: BLE001 - boundary: any class's own methods may run here
        return {}


def _open(error: BaseException) -> Iterator[tuple[str, Any]]:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        yield STATUS, int(status)
    if isinstance(error, OSError):
        yield from _plain({name: getattr(error, name) for name in _OF_THE_SYSTEM if getattr(error, name) is not None})
    yield from _plain(vars(error))


def _plain(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in list(values.items()):
        if name.startswith("_") or is_secret_setting(name) or _CLOSED.search(name):
            continue
        if value is not None and not isinstance(value, str | int | float):
            continue
        if isinstance(value, str) and not _is_open(name, value):
            continue
        try:
            text = json.dumps(value, allow_nan=False)
        except ValueError:
            continue
        if len(text) <= LONGEST:
            yield name, redacted(json.loads(text))


def _is_open(name: str, text: str) -> bool:
    """Whether the text may cross; names of settings that hold no key are those of counts, which are numbers."""
    if SECRET_NAME.search(name) or len(text) > LONGEST:
        return False
    if _ID.search(name) and re.fullmatch(r"[\w-]+", text):
        return not speaks_of_keys([text])
    return is_plainly_no_key([redacted(text).replace(INSTEAD, "")])
