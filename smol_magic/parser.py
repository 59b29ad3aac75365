"""Reads the options of a line: an ArgumentParser whose errors are a cell's."""

from __future__ import annotations

import argparse
from typing import NoReturn

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
