"""What the host asks the child: to take tools and variables, to tell a value, to try checks.

Travels into the child as source, for `child.py`; needs the standard library alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from . import account, fields, mapped, tracebacks, values

READ_LIMIT = 64 << 20
"""Bytes of a value that is read, encoded; a larger one stays here."""
MAX_REASON = 2_000
"""Characters of why a check failed."""


class Questions:
    """Answers a request by its content. `namespace` is the actions'; `receive_tools` takes a list of tools;
    by `memory_line` comes the memory of tables; `names` tells those that the author of an action would know."""

    def __init__(
        self,
        namespace: dict[str, Any],
        receive_tools: Callable[[list[dict[str, Any]]], None],
        memory_line: mapped.MemoryLine,
        names: Callable[[], list[str]],
    ) -> None:
        self._namespace, self._receive_tools, self._memory_line = namespace, receive_tools, memory_line
        self._names = names

    def answer(self, content: dict[str, Any], final: list[Any], aside: bool = False) -> dict[str, Any]:
        """The content of the reply. `final` holds the object given to `final_answer`, if there is one. With `aside` it
        is asked in the midst of an action, whose an interrupt is then."""
        try:
            return {"status": "ok", **self._answer(content, final)}
        except BaseException as error:  # boundary: any class's own methods run here; the host is told
            if aside and isinstance(error, KeyboardInterrupt):
                raise
            text = tracebacks.shorten(f"{type(error).__name__}: {tracebacks.message(error)}", MAX_REASON)
            return {"status": "error", "error": text}

    def _answer(self, content: dict[str, Any], final: list[Any]) -> dict[str, Any]:
        if "tools" in content:
            self._receive_tools(content["tools"])
        for name, data in content.get("variables", {}).items():
            self._namespace[name] = values.decode(data, trusted=True)
        for name, told in content.get("shared", {}).items():
            try:
                self._namespace[name] = self._memory_line.value(told)
            except mapped.NotReceived:
                return {"missing": True}
        for name in content.get("forget", ()):
            self._namespace.pop(name, None)
        if "work_in" in content:
            left = os.getcwd()
            os.chdir(content["work_in"])
            return {"left": left}
        if "names" in content:
            return {"names": self._names()}
        if "read" in content:
            return self._read(content["read"], fields.fields if content.get("as_answer") else None)
        if "checks" in content:
            answer = final[0] if final else values.decode(content["answer"])
            return {"checks": self._check(content["checks"], answer)}
        return {}

    def _read(self, name: str, instead: values.Instead | None) -> dict[str, Any]:
        if name not in self._namespace:
            return {"found": False}
        return {"found": True, "value": account.portable(self._namespace[name], name, READ_LIMIT, instead=instead)}

    def _check(self, expressions: list[str], answer: Any) -> list[tuple[bool, str]]:
        """Of each expression whether it is true, and the reason if not; fewer of them if a stop came."""
        namespace = {**self._namespace, "answer": answer}  # one of its own: checks leave nothing behind
        told: list[tuple[bool, str]] = []
        try:
            for expression in expressions:
                told.append(_verdict(expression, namespace))
        except KeyboardInterrupt:
            pass
        return told


def _verdict(expression: str, namespace: dict[str, Any]) -> tuple[bool, str]:
    try:
        value = eval(compile(expression.strip(), "<check>", "eval"), namespace)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - boundary: a check runs anything
        return False, tracebacks.shorten(f"{type(error).__name__}: {tracebacks.message(error)}", MAX_REASON)
    try:
        if value:
            return True, ""
        return False, tracebacks.shorten(f"is {value!r}", MAX_REASON)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - boundary: any class's own methods run here
        why = f"gives {values.a_name(type(value))}, which is neither true nor false: {tracebacks.message(error)}"
        return False, tracebacks.shorten(why, MAX_REASON)
