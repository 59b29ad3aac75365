"""What models write as HTML: Markdown where it is Markdown, other text in its lines.

All text is escaped, and the elements are ours. Of a picture its description is shown, of a link its text and its
address as text: nothing here loads or leads anywhere.
"""

from __future__ import annotations

import re
from html import escape

from smol_kernel.render.blocks import Block, blocks, cells, is_markdown
from smol_kernel.render.plain import in_columns, plain, shorten
from smol_kernel.render.style import BARRED

MAX_PROSE = 20_000
"""Characters; longer text loses its middle."""
MAX_LEAD = 120
"""Characters of the first line of an answer up to which it is set off."""
MAX_DEPTH = 4
"""How deep lists and quotations are looked for in each other."""

_CODE = r"`(?P<code>[^`\n]+)`"
_STRONG = r"\*\*(?=\*?[^\s*])(?P<strong>(?:[^*\n]|\*(?!\*)|(?<=\S)\*(?=\*\*(?!\*)))+)(?<=[^\s(\[{])\*\*"
"""Of three asterisks the outer two belong to it."""
_INLINE = re.compile(
    rf"{_CODE}|(?<![0-9A-Za-z_*)\]\\]){_STRONG}"
    r"|(?P<formula>\$(?=\S)[^$`\n]*(?<=\S)\$(?!\d))"  # as pandoc tells a formula from two prices
    r"|!\[(?P<picture>[^\[\]\n]*)\]\([^()\n]*\)"
    r"|\[(?P<link>[^\[\]\n]+)\]\((?P<address>(?:https?://|mailto:)[^()\s]+)\)"
    r"|(?<![^\s(\[{\"'“‘«>*])\*(?=[\w\"'“‘«(`])(?P<em>[^*\n]+)(?<=[\w.,:;!?)\"'”’»%`])\*(?![\w*/]|\.\w)"
    r"|(?<![^\n(])_(?=[^\W_][^_\n]* )(?P<words>[^_\n]+)(?<=\S)_(?=[.,:;]?(?:[\n)]|$))"  # elsewhere it is part of names
)
"""Marks within a line. Each looks no further than to the next like it, so that none takes the square of a line."""
_SPARE = re.compile(rf"{_CODE}|(?<![!-')-~])(?<![!-~]\()(?!\*\*[/)]){_STRONG}(?![0-9A-Za-z_*/]|\.\w)")
"""The marks that count where a text is no Markdown. Double asterisks in code and paths touch more than words; letters
that are none of ASCII may be of a language without spaces."""
_NUMBER = re.compile(r"[-+−±~<>≈]?[^\w\s]?\d[\d.,]*\s?[^\w\s]?")


def inline_html(text: str) -> str:
    """Escaped text in which backticks and double asterisks mean what people mean by them."""
    return _inline(plain(text), _SPARE)


def paragraphs_html(text: str) -> str:
    """Text as blocks: Markdown as such, other text in its lines."""
    text = shorten(plain(text), characters=MAX_PROSE).strip()
    return markdown_html(text) if is_markdown(text) else lines_html(text)


def answer_words_html(text: str, is_text: bool = True) -> str:
    """The same of an answer: its first line is set off if it is short, and where spaces carry meaning they are kept. If
    it is not `is_text` but a value's repr, it has no marks."""
    text = shorten(plain(text), characters=MAX_PROSE).strip()
    if is_text and is_markdown(text):
        return markdown_html(text, lead=True)
    if in_columns(text):
        return _kept(text)
    lead, _, rest = text.partition("\n") if _is_lead(text) else ("", "", text)
    if not is_text:
        return _strong(escape(lead)) + (f"<p>{escape(rest).replace(chr(10), '<br>')}</p>" if rest else "")
    return _strong(_inline(lead, _SPARE)) + lines_html(rest.strip())


def lines_html(text: str) -> str:
    """Cleaned text that is no Markdown, its blocks as paragraphs."""
    parts = (block for block in re.split(r"\n\s*\n", text) if block.strip())
    return "".join(f"<p>{_inline(block, _SPARE).replace(chr(10), '<br>')}</p>" for block in parts)


def markdown_html(text: str, *, lead: bool = False, declared: bool = False) -> str:
    """Cleaned Markdown. With `lead` a first line that is text is set off. If it is `declared` such by who wrote it, the
    end of a line is a space, and columns are only what it says are."""
    return _drawn(text.split("\n"), declared, lead=lead)


def _drawn(lines: list[str], declared: bool, depth: int = 0, lead: bool = False) -> str:
    found = blocks(lines, declared=declared) if depth < MAX_DEPTH else [Block("text", len(lines), lines)]
    declared = declared and depth < MAX_DEPTH
    return "".join(_block(block, declared, depth, lead and not at) for at, block in enumerate(found))


def _block(block: Block, declared: bool, depth: int, lead: bool) -> str:
    lines = block.lines
    if block.kind == "heading":
        return f'<p class="smol-h{min(block.number, 3)}"><strong>{_inline(lines[0])}</strong></p>'
    if block.kind in ("ul", "ol"):
        start = f' start="{block.number}"' if block.kind == "ol" and block.number != 1 else ""
        items = "".join(f"<li>{_item(item, depth + 1)}</li>" for item in block.items)
        return f"<{block.kind}{start}>{items}</{block.kind}>"
    if block.kind == "table":
        return _table(lines)
    if block.kind == "quotation":
        return f"<blockquote>{_drawn(lines, declared, depth + 1)}</blockquote>"
    if block.kind == "rule":
        return "<hr>"
    if block.kind == "code" or (not depth and _keeps_spaces(lines, declared)):
        return _kept("\n".join(lines))
    first, lines = (_strong(_inline(lines[0])), lines[1:]) if lead and _is_lead(lines[0]) else ("", lines)
    return first + (f"<p>{_in_lines(lines, declared)}</p>" if lines else "")


def _keeps_spaces(lines: list[str], declared: bool) -> bool:
    return lines[0].startswith(("    ", "\t")) if declared else in_columns("\n".join(lines))


def _in_lines(lines: list[str], joined: bool) -> str:
    """The lines of a paragraph; where they are `joined`, two spaces at the end of one end it."""
    ends = ["\n" if joined and not line.endswith("  ") else "<br>" for line in lines[:-1]]
    return "".join(_inline(line) + end for line, end in zip(lines, [*ends, ""], strict=True))


def _item(lines: list[str], depth: int) -> str:
    """The content of a list's item; its first paragraph is no element of its own."""
    apart = [""] if len(lines) > 1 and next(blocks(lines[1:], declared=True)).kind in ("ul", "ol") else []
    html = _drawn([lines[0], *apart, *lines[1:]], True, depth)
    return html.removeprefix("<p>").replace("</p>", "", 1) if html.startswith("<p>") else html


def _is_lead(text: str) -> bool:
    return len(text.partition("\n")[0]) <= MAX_LEAD


def _strong(lead: str) -> str:
    return f'<p class="smol-lead"><strong>{lead}</strong></p>' if lead else ""


def _kept(text: str) -> str:
    return f'<pre class="smol-out" style="{BARRED}">{escape(text)}</pre>' if text.strip() else ""


def _table(lines: list[str]) -> str:
    """A table as those of data are drawn; columns of numbers stand to the right, unless it says otherwise."""
    head, dashes, *rows = map(cells, lines)
    worded = {at for row in rows for at, cell in enumerate(row) if cell and not _NUMBER.fullmatch(cell)}
    sides = ["" if at in worded or not rows else "right" for at in range(len(head))]
    for at, dash in enumerate(dashes):
        if ":" in dash:
            sides[at] = ("center" if dash[0] == ":" else "right") if dash[-1] == ":" else ""
    styles = [f' style="text-align:{side}"' * bool(side) for side in sides]

    def row_html(row: list[str], tag: str) -> str:
        told = zip(row, [*styles, *[""] * (len(row) - len(styles))], strict=False)
        return f"<tr>{''.join(f'<{tag}{style}>{_cell(cell)}</{tag}>' for cell, style in told)}</tr>"

    body = "".join(row_html(row, "td") for row in rows)
    table = f"<table><thead>{row_html(head, 'th')}</thead><tbody>{body}</tbody></table>"
    return f'<div class="smol-rich smol-words">{table}</div>'


def _cell(text: str) -> str:
    return re.sub(r"(<code>.*?</code>)|&lt;br ?/?&gt;", lambda found: found[1] or "<br>", _inline(text))


def _inline(text: str, marks: re.Pattern[str] = _INLINE) -> str:
    """Cleaned text, escaped, with its marks as elements that end inside each other."""
    parts: list[str] = []
    end = 0
    for match in marks.finditer(text):
        parts += [escape(text[end : match.start()]), _marked(match)]
        end = match.end()
    return "".join([*parts, escape(text[end:])])


def _marked(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind == "address":
        return f"{_inline(match['link'])} ({escape(match['address'])})"
    words = match[kind or 0]
    if kind == "code":
        return f"<code>{escape(words)}</code>"
    if kind == "strong":
        return f"<strong>{_inline(words)}</strong>"
    return f"<em>{_inline(words)}</em>" if kind in ("em", "words") else escape(words or "picture")
