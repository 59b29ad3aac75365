"""Reads the options of a line: an ArgumentParser whose errors are a cell's."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from smol_magic.endings import CellError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that neither prints nor exits."""

    hint = "{} --help lists the options."
    """Where to read on."""

    def error(self, message: str) -> NoReturn:
        """End with a line."""
        raise CellError(f"{self.prog}: {message}. {self.hint.format(self.prog)}")


class CommandParser(Parser):
    """That of a command of `%agent`, of which `%agent help` tells."""

    hint = "%agent help lists the commands and their options."

    def __init__(self, command: str) -> None:
        super().__init__(prog=f"%agent {command}", add_help=False, allow_abbrev=False)
        self.add_argument("-h", "--help", action="store_true", help="show this text")

    def read(self, words: Sequence[str]) -> Any:
        """What the words say; None if they ask for help, which is printed."""
        if not {"-h", "--help"}.isdisjoint(words):
            print(self.format_help().strip())
            return None
        return self.parse_intermixed_args(list(words))
