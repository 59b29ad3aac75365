"""Whether texts are plainly no keys: words, short numbers and short codes, of which none follows the name of a secret.

It errs on the safe side: most of what is refused is no key either. A password that is a word, or short, under a name
that says nothing, is not told from what is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import punctuation

from smol_kernel.memory.known_secrets import SECRET_NAME, is_path, is_random, is_secret_setting, without_secret_words

_KNOWN = re.compile(r"\b(sk|pk|rk|hf|gh[a-z]|github_pat|glpat|xox[a-z]|npm|gsk|tvly|pplx)[-_]\w|\b(AKIA|AIza|eyJ)\w{8}")
"""Begins as keys of well-known services do, which may go on as words do."""
_NAME = re.compile(r"[\w-]*[^\W_]")
_PART = re.compile(r"[A-Za-z0-9!#$%^*~`\\|{}<>\"]+")
"""What stands between blanks, the punctuation of words and addresses, and letters of other scripts."""
_WORD = re.compile(r"(?!.*(?<![a-z])[a-z](?![a-z]))[A-Za-z]{3,40}|\d{1,12}")
"""Letters of which no small one is alone, as in base64; or digits."""
_CODE = re.compile(r"[A-Za-z]{1,6}|.{1,3}|\d*([A-Z]?[a-z]+|[A-Z]+)\d*")
_VERSION = re.compile(r"v\d{1,2}(alpha|beta|rc|preview)\d{0,2}")
_E_MAIL = re.compile(r"[a-z]{2}[a-z0-9._+-]{0,14}@([a-z0-9-]{1,20}\.)+[a-z]{2,10}")
_HOST = re.compile(r"(?<=://)[a-z0-9.-]+(:\d{1,5})?(?=/|\Z)")
_MOST = 8
"""Characters of codes, such as `v2` or `72B`, in what stands between two blanks."""


def is_plainly_no_key(texts: Sequence[str]) -> bool:
    """Whether that holds for all of these texts, which belong together."""
    return not speaks_of_keys(texts) and all(_is_plain(word) for text in texts for word in text.split())


def speaks_of_keys(texts: Sequence[str]) -> bool:
    """Whether a key begins, or stands behind its name, in these texts, whatever it looks like."""
    names = [name for text in texts for name in _NAME.findall(text)]
    return any(map(is_secret_setting, names[:-1])) or any(
        _KNOWN.search(text) or (SECRET_NAME.search(text) and is_random(text)) or without_secret_words(text) != text
        for text in texts
    )


def _is_plain(word: str) -> bool:
    if is_path("", word):
        return True
    word = word.strip(punctuation)
    if _E_MAIL.fullmatch(word):
        return True
    host = _HOST.search(word)
    if host and all(_CODE.fullmatch(part) or _WORD.fullmatch(part) for part in _PART.findall(host[0])):
        word = word[host.end() :]  # a host has as many codes as it has parts
    parts = _PART.findall(word)
    codes = [part for part in parts if not (_WORD.fullmatch(part) or _VERSION.fullmatch(part))]
    return all(map(_CODE.fullmatch, codes)) and sum(map(len, codes)) <= _MOST
