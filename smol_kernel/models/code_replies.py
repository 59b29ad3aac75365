"""What a reply holds for an agent that writes code: the thought and the code, or words that repair what is wrong."""

from __future__ import annotations

import ast
import codeop
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from textwrap import dedent
from typing import Any

from smol_kernel.errors import AgentParsingError, ConfigError
from smol_kernel.models.replies import CUT_OFF, json_end, without_reasoning
from smol_kernel.parsing import parsed

DEFAULT_TAGS = ("<code>", "</code>")
MARKDOWN_TAGS = ("```python", "```")

_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[ \t]*(?:(?:\{[ \t]*)?\.?([a-z][\w+#-]*)(?![\w+#-])[^`\n]*)?\n", re.IGNORECASE | re.MULTILINE
)
"""Opens a block of code; with the name of a language, and whatever may stand behind that."""
_PYTHON = re.compile(r"i?py(thon)?[23]?", re.IGNORECASE)
_OBSERVED = re.compile(r"^[ \t]*(?:observations?|outputs?|execution logs|results?)\s*:", re.IGNORECASE | re.MULTILINE)
_INVENTED = re.compile(r"(?:observations?|execution logs)\s*:", re.IGNORECASE)
_COMMAND = re.compile(r"^[ \t]*(?:!\s*[\w./~${\"'!]|%%?\w)", re.MULTILINE)
_FAULTY = re.compile(
    r"print\s+(?:[\w.]+$|[\"'])|for\s+\w+(?:\s*,\s*\w+)*\s+in\s.*:$|(?:el)?if\s[^=<>]*[=<>].*:$"
    r"|[^\W\d][\w.]*\s*[-+*/]?=(?:=(?!=)|.*(?:[\"'“”‘’\[{]|[^\W\d]\(|\s[-+*/]\s|[-+*/,]$))"
)
"""A line that Python was meant to run, whatever is wrong with it; `loss = 0.4 per epoch` may be of an output."""
_CALLS_OR_BINDS = re.compile(r"\w\(|=")
_PHRASE = re.compile(r"(?:with|if|while)\s+(?!True\b)\w+\s*:")  # a header of Python, and the end of a sentence
_MEANT = re.compile(rf"[!%?#@]|\"\"\"|'''|try:$|.*\?$|{_FAULTY.pattern}")
"""The same, or one of IPython's, or what a program may begin with."""
_LINES = 200  # of a block, that are looked at one by one
_END_TOKENS = re.compile(r"(?:<[^<>\s]{1,30}>\s*)+")
_LABEL = re.compile(r"^\s*(?:thoughts?|plan)\s*:\s*", re.IGNORECASE)
_PARSE_LIMIT = 100_000  # characters; a longer text is not parsed to find out whether it is Python
_MOST_BLOCKS = 50  # a reply with more of them is a model gone astray


@dataclass(frozen=True)
class Action:
    """A parsed reply: why, and the code to run."""

    thought: str
    code: str


@dataclass(frozen=True)
class _Block:
    start: int
    end: int
    code: str
    is_open: bool = False
    """True: nothing ended it."""
    is_labelled: bool = True
    """False: a fence that names no language began it."""


def block_tags(tags: str | tuple[str, str] | None) -> tuple[str, str]:
    """The opening and closing tag that a user's `code_block_tags` stand for. Raises ConfigError for what is none."""
    if tags is None:
        return DEFAULT_TAGS
    if tags == "markdown":
        return MARKDOWN_TAGS
    if isinstance(tags, str) or len(tags) != 2 or not all(tags):
        raise ConfigError(f"code_block_tags is {tags!r}: give 'markdown' or a pair (opening, closing)")
    return (tags[0], tags[1])


def parse_reply(reply: str, tags: tuple[str, str] | None = DEFAULT_TAGS, *, cut_off: bool = False) -> Action:
    """The action in `reply`; with `tags` of None one that was asked for as JSON.

    Understands a block between `tags`, Markdown fences, a last block left open, and a reply that is nothing
    but code. Several blocks run as one, up to the first made-up observation between them; among them those without a
    label that are programs. Of a reply that was `cut_off` only what ended before counts.
    Raises AgentParsingError with a message for the model that names the fault and shows the form.
    """
    if tags is None:
        return _parse_json(reply, cut_off)
    text, blocks = _read(reply, tags)
    if cut_off and (not blocks or blocks[-1].is_open):
        raise AgentParsingError(CUT_OFF)
    if not blocks:
        raise AgentParsingError(_fault(reply, text, tags))
    return _action(text, blocks)


def _parse_json(reply: str, cut_off: bool) -> Action:
    text = without_reasoning(reply, json_end).strip()
    try:
        told = json.loads(
            _unfenced(text.replace("```json", "```", 1)) if text.startswith("```") else text, strict=False
        )
        thought, code = str(told.get("thought") or ""), str(told["code"])
    except (ValueError, KeyError, TypeError, AttributeError):
        if cut_off:
            raise AgentParsingError(CUT_OFF) from None
        form = '{"thought": "what you do next, and why", "code": "the Python code"}'
        fault = "was empty" if not text else "is no JSON object with the keys thought and code"
        raise AgentParsingError(f"Your reply {fault}, so nothing ran. Reply in this form alone:\n{form}") from None
    marked = [] if _parses(code) else _marked_blocks(code, *DEFAULT_TAGS)  # as some models do
    return Action(thought=thought, code="\n\n".join(block.code.strip("\n") for block in marked) or code)


def answer_in(reply: str, tags: tuple[str, str] | None = DEFAULT_TAGS, best: Any = None) -> Any:
    """The answer in a reply that was asked for one as text: all of it, without reasoning.

    Of one that ends in an action all the same it is the literal answer of that, or what is said before; code that the
    answer shows, or has within a line, is a part of it. Where nothing is said it is the `best` there was before, and
    where there was none all of the reply. `tags` as in `parse_reply`.
    """
    said = without_reasoning(reply).strip()
    found = _said_in(reply, tags, said)
    return found if found != "" else (said or None) if best is None else best


def _said_in(reply: str, tags: tuple[str, str] | None, said: str) -> Any:
    """The same of a reply that is `said` without its reasoning; empty where it says nothing."""
    if tags is None:
        try:
            action = _parse_json(reply, cut_off=False)
        except AgentParsingError:
            return said
        literal = literal_answer(action.code)
        return action.thought if literal is None else literal
    text, blocks = _read(reply, tags)
    if len(blocks) > 1 or (blocks and literal_answer(blocks[0].code) is None):
        blocks = [block for block in blocks if _gives_answer(block) or not _is_inline(text, block)]
    if not blocks:
        return said
    last, thought = blocks[-1], _action(text, blocks).thought
    literal, behind = literal_answer(last.code), text[last.end :].strip()
    gives_it, is_last = _gives_answer(last), not behind or _END_TOKENS.fullmatch(behind)
    is_tagged = text.lower().startswith(tags[0].lower(), last.start) and not tags[0].startswith("`")
    if literal is not None:
        is_alone = is_last and not text[: last.start].strip()
        if gives_it or is_alone or (is_tagged and (is_last or _OBSERVED.match(behind))):
            return literal
    if is_last:
        return thought if gives_it or is_tagged else said
    return thought if thought and gives_it and _INVENTED.match(behind) else said


def closed(reply: str, tags: tuple[str, str]) -> str:
    """`reply` with the closing tag that the stop sequence cut off, so that the history shows the form."""
    opened = reply.rfind(tags[0])
    if opened < 0 or tags[1] in reply[opened + len(tags[0]) :]:
        return reply
    return f"{reply.rstrip()}\n{tags[1]}"


def literal_answer(code: str) -> Any:
    """The answer, where `code` is nothing but a literal, or `final_answer(...)` of one, else None; nothing is run."""
    try:
        told = parsed(code.strip(), "eval").body
        if isinstance(told, ast.Call) and isinstance(told.func, ast.Name) and told.func.id == "final_answer":
            told = (told.args or [keyword.value for keyword in told.keywords])[0]
        answer = ast.literal_eval(told)
        return None if answer is ... else answer  # `final_answer(...)` is the form we show, not an answer
    except (SyntaxError, ValueError, TypeError, IndexError, RecursionError, MemoryError):
        return None


def _gives_answer(block: _Block) -> bool:
    return "final_answer(" in block.code


def _is_inline(text: str, block: _Block) -> bool:
    """Whether it stands within a line of prose."""
    return "\n" not in block.code and bool(text[text.rfind("\n", 0, block.start) + 1 : block.start].strip())


def _action(text: str, blocks: list[_Block]) -> Action:
    thought = _LABEL.sub("", text[: blocks[0].start].strip())
    return Action(thought=thought, code="\n\n".join(block.code.strip("\n").rstrip() for block in blocks))


def _read(reply: str, tags: tuple[str, str]) -> tuple[str, list[_Block]]:
    """The text without its reasoning, and the blocks of code in it that count: of nothing but code all of it is one."""
    text = reply.lstrip("\ufeff").replace("\r\n", "\n")
    text = text if _is_code(text) else _without_reasoning(text, *tags)
    if _is_code(text):
        return text, [_Block(0, len(text), text.strip(), is_open=True)]
    blocks = [block for block in _marked_blocks(text, *tags) if block.code.strip()]
    return text, _before_invented_observation(text, blocks)


def _marked_blocks(text: str, opening: str, closing: str) -> list[_Block]:
    """The tagged blocks, else the fenced ones: beside others one that only shows something does not count."""
    fenced = _fenced_blocks(text)
    first = next((place for place, block in enumerate(fenced) if block.is_labelled), len(fenced))
    programs = [block for place, block in enumerate(fenced) if not _only_shows(block, is_behind=place > first)]
    return _tagged_blocks(text, opening, closing, fenced) or programs or fenced


def _only_shows(block: _Block, is_behind: bool) -> bool:
    """Whether it is whole, has no label, and holds no program, no line of one, and no command of IPython. Where it
    `is_behind` a program a line with a fault is one of an output."""
    if block.is_labelled or block.is_open or _COMMAND.search(block.code) or _is_code(block.code):
        return False
    lines = [line.strip() for line in block.code[:_PARSE_LIMIT].splitlines()[:_LINES]]
    if any(_is_step(line) or (not is_behind and _FAULTY.match(line)) for line in lines):
        return False
    try:
        has_end = codeop.compile_command(block.code[:_PARSE_LIMIT], symbol="exec") is not None
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return True
    return has_end or not _CALLS_OR_BINDS.search(block.code)


def _without_reasoning(text: str, opening: str, closing: str) -> str:
    """`text` without its reasoning; the marks inside of blocks stay."""
    begins = re.compile(f"{_tag(opening)}|{_FENCE.pattern}", _FENCE.flags)
    passed = 0

    def block_end(text: str, place: int, stop: int) -> int | None:
        nonlocal passed
        if passed == _MOST_BLOCKS or not (found := begins.search(text, place, stop)):
            return None
        passed += 1
        fence = _FENCE.match(text, found.start())
        return (_fenced_block(text, fence) if fence else _tagged_block(text, found.start(), opening, closing)).end

    return without_reasoning(text, block_end)


def _tag(opening: str) -> str:
    return f"(?<!`){re.escape(opening)}"  # `<code>` in backticks is only spoken of


def _tagged_blocks(text: str, opening: str, closing: str, fenced: Sequence[_Block] = ()) -> list[_Block]:
    """Blocks between the tags; a tag within one of the `fenced` blocks, if that is a program, opens none, and neither
    does one that is spoken of before there is a program."""
    blocks: list[_Block] = []
    tag, place, spoken = re.compile(_tag(opening), re.IGNORECASE), 0, 0
    while len(blocks) < _MOST_BLOCKS and (found := tag.search(text, place)):
        within = (each for each in fenced if each.start < found.start() < each.end and _parses(each.code))
        around = next(within, None)
        block = around or _tagged_block(text, found.start(), opening, closing)
        place = block.end
        if around is None and spoken < _MOST_BLOCKS and _is_spoken_of(text, block, opening):
            later = re.compile(rf"^[ \t]*({tag.pattern})", tag.flags | re.MULTILINE).search(text, found.end())
            told = [each for each in fenced if each.is_labelled and each.start > found.end()]
            told += [_tagged_block(text, later.start(1), opening, closing)] if later else []
            if any(_is_code(dedent(each.code)) for each in told):
                spoken, place = spoken + 1, found.end()
                continue
        if around is None:
            blocks.append(block)
    return blocks


def _is_spoken_of(text: str, block: _Block, opening: str) -> bool:
    """Whether the tag that begins it stands in prose, as in "I answer in <code> tags."; it is no program then."""
    before = text[text.rfind("\n", 0, block.start) + 1 : block.start].strip()
    behind = block.code.partition("\n")[0].strip()
    again = block.code.lstrip().lower().startswith(opening.lower())
    is_phrase = _PHRASE.fullmatch(behind) and any(mark in block.code.lower() for mark in (opening.lower(), "```"))
    begins = _is_code(behind) or (not is_phrase and _is_code(f"{behind}\n pass"))
    is_prose = behind and not begins and not _CALLS_OR_BINDS.search(behind) and not _MEANT.match(behind)
    return bool(before and (again or is_prose)) and not _parses(block.code)


def _tagged_block(text: str, start: int, opening: str, closing: str) -> _Block:
    body = text[start + len(opening) :]
    ends = _first_ends(re.escape(closing), body)
    length = _first_that_parses(body, ends) if ends else len(body)
    end = start + len(opening) + length + (len(closing) if ends else 0)
    return _Block(start, end, _unfenced(body[:length]), is_open=not ends)


def _fenced_blocks(text: str) -> list[_Block]:
    blocks: list[_Block] = []
    position = 0
    while len(blocks) < _MOST_BLOCKS and (match := _FENCE.search(text, position)):
        block = _fenced_block(text, match)
        position = block.end
        if _is_python(match):
            blocks.append(block)
    return blocks


def _fenced_block(text: str, match: re.Match[str]) -> _Block:
    """The block that a fence opens; of one of another language only where it ends."""
    if not _is_python(match):
        following = _FENCE.search(text, match.end())  # it ends this block, unless it begins another one
        end = len(text) if following is None else following.start() if following[2] else following.end()
        return _Block(match.start(), end, "")
    body = text[match.end() :]
    # Something may stand behind it, as in ```<end_code>, but not what begins the next block.
    fence = re.escape(match.group(1))
    closing = rf"^[ \t]*{fence}(?!{match.group(1)[0]}|[ \t]*\{{?i?py)"
    ends = _first_ends(closing, body)
    length = _first_that_parses(body, ends) if ends else len(body)
    if not _parses(body[:length]):  # it may end on the last line of the code: `print(x)```
        behind = _first_ends(rf"(?<=[^\s`~]){fence}(?=[ \t]*$)", body)
        ends = [end for end in behind if _ends_code(body[:end])][:1] or ends
        length = ends[0] if ends else length
    after = body.find("\n", length)
    end = len(text) if not ends or after < 0 else match.end() + after
    return _Block(match.start(), end, body[:length], is_open=not ends, is_labelled=match[2] is not None)


def _ends_code(code: str) -> bool:
    """Whether a program ends here, and not in a comment."""
    return "#" not in code[code.rfind("\n") + 1 :] and _is_code(code)


def _is_python(fence: re.Match[str]) -> bool:
    return fence[2] is None or bool(_PYTHON.fullmatch(fence[2]))


def _first_ends(closing: str, body: str) -> list[int]:
    return [found.start() for found in islice(re.finditer(closing, body, re.MULTILINE | re.IGNORECASE), 20)]


def _first_that_parses(body: str, ends: list[int]) -> int:
    """Where the block ends: a closing mark inside a string of the code is not the end."""
    return next((end for end in ends if _parses(_unfenced(body[:end]))), ends[0])


def _unfenced(code: str) -> str:
    """The code without Markdown fences that a model put inside the tags."""
    match = _FENCE.match(code.lstrip("\n"))
    if not match or not _is_python(match):
        return code
    body = code.lstrip("\n")[match.end() :].rstrip()
    return body.removesuffix(match.group(1))


def _before_invented_observation(text: str, blocks: list[_Block]) -> list[_Block]:
    """The blocks up to where the model made up an output of its own instead of waiting for it."""
    kept = blocks[:1]
    for previous, block in pairwise(blocks):
        if _OBSERVED.search(text[previous.end : block.start]):
            break
        kept.append(block)
    return kept


def _parses(code: str) -> bool:
    if len(code) > _PARSE_LIMIT:
        return False
    try:
        parsed(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _is_code(text: str) -> bool:
    """Whether the bare text is a program: prose that happens to parse (`Done`, `42`, `Total: 42`) is not."""
    return _parses(text) and any(map(_does_something, parsed(text).body))


def _is_step(line: str) -> bool:
    """Whether a line by itself is one of a program: `loss = 0.4` or `status = ok` may as well be of its output."""
    return _is_code(line) and not all(map(_may_be_shown, parsed(line).body))


def _may_be_shown(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign):
        return not _does_something(node)
    try:
        return isinstance(node.value, ast.Name) or ast.literal_eval(node.value) is not ...
    except (ValueError, TypeError, RecursionError, MemoryError):
        return False


def _does_something(node: ast.stmt) -> bool:
    if isinstance(node, ast.AnnAssign):
        return node.value is not None
    return not isinstance(node, ast.Expr) or isinstance(node.value, (ast.Call, ast.Await))


def _fault(reply: str, text: str, tags: tuple[str, str]) -> str:
    form = f"{tags[0]}\n# your code\n{tags[1]}"
    if not reply.strip():
        return f"Your reply was empty.\nWrite a sentence on what you do next, then one block of code:\n{form}"
    if not text.strip():
        return f"Your reply ended while you were still thinking.\nThink less, then write one block of code:\n{form}"
    if tags[0] in text or _fenced_blocks(text):
        return f"The code block in your reply is empty.\nPut the code between the tags:\n{form}"
    answer = f"{tags[0]}\nfinal_answer(...)\n{tags[1]}"
    return (
        f"Your reply holds no code block, so nothing ran.\nWrite one block of code in this form:\n{form}\n"
        f"If you have the answer already, give it in code:\n{answer}"
    )
