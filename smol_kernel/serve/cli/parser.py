"""Reads the words of a command line: what a subcommand does not know is told by itself, with what was meant, not by the
whole command, which has nothing like it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from smol_kernel.config import nearest_option


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that knows all of its words, and names the first option that it does not know."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As of argparse, which passes on what a subcommand does not know."""
        words = sys.argv[1:] if args is None else list(args)
        own = [*takewhile(lambda word: word != "--" and (self._subparsers is None or word.startswith("-")), words)]
        known = [option for action in self._actions for option in action.option_strings]
        for word in own:  # before a value behind it is taken for something else
            name = word.partition("=")[0]
            if name[:2] == "--" and " " not in word and not any(each.startswith(name) for each in known):
                self.error(self._no_option(name))
        found, rest = super().parse_known_args(words, namespace)
        if rest and rest[0] in own and rest[0].startswith("-"):
            self.error(self._no_option(rest[0]))
        if rest:
            for each in getattr(found, "inputs", ()):
                if "=" not in each:  # then its file is one of the words that are too much, or the task
                    self.error(f"--in {each}: write NAME=FILE, for instance --in {each}=sales.csv")
            self.error(f"too much: {' '.join(rest)!r} (words that belong together stand in quotes)")
        return found, rest

    def _no_option(self, word: str) -> str:
        close = nearest_option(word, self)
        return f"there is no option {word}. {f'Did you mean {close}?' if close else f'{self.prog} --help lists them.'}"
