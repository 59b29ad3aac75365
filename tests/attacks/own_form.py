"""The form of an attack of our own."""

from __future__ import annotations

import textwrap
from typing import Any


def attack(id: str, family: str, expect: str, body: str, unboxed: bool = True) -> dict[str, Any]:
    """An attack whose `body` is that of a function: what it returns is what it got hold of, if that is true.

    `unboxed` is false for what would harm a host without a box.
    """
    code = f"""\
def _a():
    import ctypes, glob, json, mmap, os, signal, socket, stat, struct, subprocess, sys, threading, time
    libc = ctypes.CDLL(None, use_errno=True)
    def call(number, *arguments):
        r = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(x) if isinstance(x, int) else x for x in arguments])
        return r if r >= 0 else -ctypes.get_errno()
    def read(path):
        try:
            with open(path, 'rb') as file:
                return file.read(1 << 16).decode('latin-1')
        except (OSError, ValueError):
            return ''
    def tried(f, *arguments):
        try:
            return f(*arguments)
        except (OSError, ValueError):
            return None
{textwrap.indent(textwrap.dedent(body).strip(), "    ")}
try:
    _r = _a()
    print('RESULT ESCAPED ' + repr(_r)[:2000] if _r else 'RESULT HELD no effect')
except BaseException as e:
    print('RESULT HELD ' + type(e).__name__ + ' ' + str(e)[:120])
"""
    return {"id": id, "family": family, "code": code, "expect": expect, "unboxed": unboxed}
