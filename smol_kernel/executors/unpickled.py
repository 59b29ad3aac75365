"""Reads what `pickles` has written for the child alone.

Travels into the child as source, for `values`; needs the standard library alone.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

from . import values


def unpickled(parts: Any, read: Callable[[Any], Any]) -> Any:
    """The value of which this is the pickle, encoded, or its plain form and the pickle with the version of Python that
    it is for (None: any); the plain form serves where its classes are not. `read` decodes. Raises what the pickle does.
    """
    if isinstance(parts, list):
        plain, pickle_of_it = values.row(parts, object, list)
        pickled, version = values.row(pickle_of_it, dict, list | None)
        try:
            if version in (None, list(sys.version_info[:2])):
                return pickle.loads(values.need(read(pickled), bytes))
        except (Exception, SystemExit):  # noqa: BLE001 - boundary: modules are imported, and classes' own methods run
            pass
        return read(plain)
    try:
        return pickle.loads(values.need(read(parts), bytes))
    except ModuleNotFoundError as error:
        reason = f"{error}: the child kernel cannot import that; have it in the working folder or in a mount"
        return values.refuse(reason)
