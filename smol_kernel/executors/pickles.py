"""What a user hands to the child by name: encoded, or, where it cannot cross otherwise, pickled for the child alone."""

from __future__ import annotations

import io
from importlib import import_module
from typing import Any

from smol_kernel.executors import values


def encode_input(value: Any) -> Any:
    """Like `values.encode`, but what cannot cross otherwise is pickled.

    Raises NotPortable where that fails too, and for tools, models and agents, which stay in the host.
    """
    try:
        return values.encode(value)
    except values.NotPortable:
        return {"$": "pickle", "v": values.encode(_pickled(value))}


def _pickled(value: Any) -> bytes:
    """The value pickled by cloudpickle. Raises NotPortable."""
    cloudpickle = import_module("cloudpickle")

    class Pickler(cloudpickle.Pickler):
        def reducer_override(self, obj: Any) -> Any:
            if any(values.package(cls) == "smol_kernel" for cls in type(obj).__mro__):
                raise values.NotPortable(
                    f"holds {values.a_name(type(obj))}, which stays in the host and is never pickled"
                )
            return super().reducer_override(obj)

    stream = io.BytesIO()
    try:
        Pickler(stream).dump(value)
    except values.NotPortable:
        raise
    except Exception as error:  # boundary: any class's __reduce__ runs here
        raise values.NotPortable(
            f"is {values.a_name(type(value))}, which can neither cross nor be pickled ({error}): "
            "hand over plain data such as a dict or a DataFrame, or make it a tool"
        ) from error
    return stream.getvalue()
