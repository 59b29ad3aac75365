"""HTML of the child, made safe for a page: an allow-list, and nothing that loads, runs or leads anywhere."""

from __future__ import annotations

import re
from html import escape

from smol_kernel.events import Output
from smol_kernel.executors.displays import CHART, LIVE
from smol_kernel.executors.observation import SUSPECT, allowed
from smol_kernel.render.plain import plain, shorten
from smol_kernel.render.prose import markdown_html
from smol_kernel.render.style import BARRED

MAX_HTML = 500_000
"""Characters; longer HTML of a child is not shown, its text/plain form is."""
MAX_NESTING = 5_000
"""Elements that could stand in each other."""
MAX_SEARCHED = 50_000_000
"""Those times all tags: for one tag the parser may look through all that is open."""
MAX_LOOSE = 20_000
"""Tags beside those of rows and cells where there is a table: what does not belong into one is put before it, and for
each such thing the parser looks through what stands there."""
MAX_ATTRIBUTES = 10_000
"""Attributes of one tag: each is compared with those before it."""
MAX_REFERENCES = 100_000
"""Ampersands: each takes apart the text it stands in."""
MAX_TEXT = 20_000
"""Characters of one text output; longer ones lose their middle."""
NO_FORMULAS = "tex2jax_ignore mathjax_ignore"
"""Classes in which MathJax 2 and 3 leave a dollar sign a dollar sign: a formula may hold a link or a style sheet."""

_OPENING = f'<div class="{NO_FORMULAS}">'
_FORMULA = re.compile(r"[$\\]")
_HEADS = [  # those of columns with one level; with several; with several, where the index has names
    """
    .dataframe thead th {
        text-align: right;
    }
""",
    """
    .dataframe thead tr th {
        text-align: left;
    }
""",
]
_HEADS.append(
    f"""{_HEADS[1]}
    .dataframe thead tr:last-of-type th {{
        text-align: right;
    }}
"""
)
_TABLE = re.compile(
    re.escape(
        """<div>
<style scoped>
    .dataframe tbody tr th:only-of-type {
        vertical-align: middle;
    }

    .dataframe tbody tr th {
        vertical-align: top;
    }
"""
    )
    + f"(?:{'|'.join(map(re.escape, _HEADS))})"
    + re.escape(
        """</style>
<table border="1" class="dataframe">"""
    )
    + r"(.*)</table>\n(?:<p>\d+ rows × \d+ columns</p>\n)?</div>",
    re.DOTALL,
)
"""A table of pandas 2 and 3."""

_ALLOWED = """abbr b blockquote br caption cite code col colgroup dd del details dfn div dl dt em figcaption figure
h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th
thead tr u ul var wbr"""
_DROPPED_WHOLE = {"script", "style", "template", "noscript", "iframe", "object", "svg", "math", "title", "textarea"}
_SPANS = {"colspan", "rowspan", "halign", "valign"}
_PLACES = {"left", "right", "center", "top", "middle", "bottom", "baseline"}
_ATTRIBUTES = {
    "*": {"title", "style", "class", "dir", "lang"},
    "img": {"src", "alt", "width", "height"},
    "td": _SPANS,
    "th": _SPANS | {"scope"},
    "ol": {"start"},
    "details": {"open"},
}
_END = "[ \\t\\n\\f\\r/>]"  # of a tag's name
_NESTING = re.compile(rf"<(?!(?:br|col|hr|img|td|th|tr|wbr){_END})[a-z]", re.IGNORECASE)
_CLOSED = re.compile(  # written so that it is what it seems to be wherever it stands
    r"<([a-z][a-z0-9]*)(?:[ \n]+[\w-]+(?:=(?:\"[^\"<>]*\"|'[^'<>]*'|[\w-]+))?)*[ \n]*>[^<>]*</\1>", re.IGNORECASE
)
_TAG = re.compile(r"<[a-z/]", re.IGNORECASE)
_BEGIN = re.compile(r"<[a-z]", re.IGNORECASE)
_LOOSE = re.compile(rf"<(?!/?(?:td|th|tr){_END})[a-z/]", re.IGNORECASE)
_SEPARATOR = re.compile(r"[\s/\"']+")
_LEFT_OPEN = re.compile(r"=\s*(?:\"[^\"]*|'[^']*)\Z")
_RENAMED = "a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u|svg|math|html"
_MARK = "\ufdd0"
"""No character; behind its name it makes an element one that the parser knows nothing of. Else formatting that is left
open is repeated in each block that follows, within `svg` and `math` any tag can stand in itself, and each `html` adds
its attributes to the first."""
_EMPTY = re.compile(r"<(?:svg|math)(?:\s[^<>]*)?/>", re.IGNORECASE)
"""Else what follows would be in it, once it is one that the parser knows nothing of."""
_RENAMING = re.compile(rf"(</?(?:{_RENAMED}))(?={_END})", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}")  # these three are of a text without blanks at its ends
_PICTURE = re.compile(r"data:(image/(?:png|jpeg));base64,([A-Za-z0-9+/\s]+={0,2})", re.IGNORECASE)
_ALIGN = re.compile(r"text-align:\s*(left|right|center)\s*;?", re.IGNORECASE)
_LONGEST_STYLE = 200

_STYLED = re.compile(r"<style[^<>]*>\s*#T_")
"""How the HTML of a table begins that pandas draws in colours (`df.style`)."""


def clean_html(html: str) -> str:
    """`html` with only what a table or formatted text needs.

    Pictures stay if they carry their own PNG or JPEG; of others an element without a source does, which accounts do
    not show (`style`). Links keep their text only: browsers look up the host of a link that is merely shown, which
    would be a way out. Of styles only text alignment stays, of classes only `dataframe`.
    """
    import nh3

    cleaned = nh3.clean(
        _RENAMING.sub(rf"\1{_MARK}", _EMPTY.sub("", plain(html).replace(_MARK, "\ufffd"))),
        tags={_marked(tag) for tag in _ALLOWED.split()},
        clean_content_tags={_marked(tag) for tag in _DROPPED_WHOLE},
        attributes=_ATTRIBUTES,
        attribute_filter=_filter,
        url_schemes={"data"},
        link_rel=None,
        strip_comments=True,
    )
    return SUSPECT.sub("", cleaned.replace(_MARK, ""))  # behind it as well: what was a character reference


def _marked(tag: str) -> str:
    return tag + _MARK if tag in _RENAMED.split("|") else tag


def _filter(tag: str, attribute: str, value: str) -> str | None:
    if tag.endswith(_MARK):
        return None  # what a browser may repeat has nothing that is long
    if attribute == "src":
        picture = _PICTURE.fullmatch(value.rstrip())  # what it says, and no bomb
        return value if picture and allowed({picture[1].lower(): picture[2]})[0] else None
    if attribute == "style":
        return value if len(value) <= _LONGEST_STYLE and _ALIGN.fullmatch(value.strip()) else None
    if attribute in ("halign", "valign"):
        return value if value in _PLACES else None
    if attribute == "class":
        return "dataframe" if tag == "table" and "dataframe" in value.split() else None
    return value


def is_base64(picture: str) -> bool:
    """Whether it can stand in an attribute; that it is a picture was seen to when it came (`observation`)."""
    return _BASE64.fullmatch(picture.strip()) is not None


def output_html(output: Output) -> str:
    """The best form of `output` that may be shown: PNG, JPEG, cleaned HTML, Markdown, else its text; or empty."""
    for kind in ("image/png", "image/jpeg"):
        if picture := output.data.get(kind):
            return picture_html(kind, picture, "Plot" if output.channel == "display" else "Picture")
    if html := shown_html(output):
        told = "<p><small>[colours left out]</small></p>" if _STYLED.search(output.data["text/html"]) else ""
        return f'<div class="smol-rich">{html}</div>{told}'
    if markdown := plain(shorten(output.data.get("text/markdown", ""), characters=MAX_TEXT)).strip("\n"):
        return markdown_html(markdown, declared=True)
    return text_html(output.text or output.data.get("text/plain", ""), error=output.channel == "stderr")


def shown_html(output: Output) -> str:
    """The HTML of `output` made safe for any page, with a line in the place of a chart; empty if there is none, or none
    worth showing."""
    html = output.data.get("text/html", "")
    if not html or _is_too_much(html):
        return ""
    cleaned = clean_html(html)
    has_picture, words = re.search(r"<img [^>]*src=", cleaned), re.sub(r"<[^>]*>|\s", "", cleaned)
    if not (has_picture or words):
        return ""  # nothing beside what a script draws
    told = f"<p><small>{CHART}</small></p>" if output.data.get(LIVE) == "chart" else ""
    return without_formulas(cleaned + told)


def _is_too_much(html: str) -> bool:
    """Whether to clean it could take more than its length in time or memory."""
    if len(html) > MAX_HTML:
        return True
    html = plain(html)
    tags, leveled = len(_TAG.findall(html)), html  # without what was closed again
    for _ in range(3):
        leveled = _CLOSED.sub("", leveled)
    nested = len(_NESTING.findall(leveled))
    loose = len(_LOOSE.findall(html)) if "<table" in html.lower() else 0
    too_many = nested > MAX_NESTING or nested * tags > MAX_SEARCHED or loose > MAX_LOOSE
    return too_many or html.count("&") > MAX_REFERENCES or _attributes(html) > MAX_ATTRIBUTES


def _attributes(html: str) -> int:
    """At least as many as any one tag has. Behind a `>` a tag goes on only where a value in quotes is open."""
    most = count = 0
    left_open = False
    for part in html.split(">"):
        begin = None if left_open else _BEGIN.search(part)
        tag = part if left_open else part[begin.start() :] if begin else ""
        count = (count if left_open else 0) + len(_SEPARATOR.findall(tag))
        most, left_open = max(most, count), _LEFT_OPEN.search(tag) is not None
    return most


def kept_html(html: str, live: str = "") -> str:
    """HTML of a child as a notebook may keep it, with a line where `live` is "chart"; empty if there is none, or none
    worth showing.

    A table as pandas writes it stays as it is if there is nothing else in it, so that who runs the notebook again finds
    the same; all else is made safe as for any page. What was is given back unchanged.
    """
    inner = html.removeprefix(_OPENING)
    html = inner.removesuffix("</div>") if inner != html else html
    if not _is_too_much(html) and (found := _TABLE.fullmatch(html)):
        table = f'<table class="dataframe">{found[1]}</table>'
        if not _FORMULA.search(table) and clean_html(table) == table:
            return html
    return shown_html(Output(channel="display", data={"text/html": html, LIVE: live}))


def without_formulas(html: str) -> str:
    """Cleaned `html` in an element of its own, in which no page looks for formulas."""
    return f"{_OPENING}{html}</div>" if html else ""


def picture_html(kind: str, base64: str, alt: str) -> str:
    """A PNG or JPEG as an element; `kind` is its MIME type. A sentence instead where the data is not base64."""
    if not is_base64(base64):
        return text_html("[a picture that cannot be shown]")
    return f'<img class="smol-img" alt="{escape(alt)}" src="data:{kind};base64,{"".join(base64.split())}">'


def text_html(text: str, *, error: bool = False) -> str:
    """Text as a block of its own; empty for blank text."""
    shown = plain(shorten(text, characters=MAX_TEXT)).rstrip()
    kind = "smol-out smol-stderr" if error else "smol-out"
    return f'<pre class="{kind}" style="{BARRED}">{escape(shown)}</pre>' if shown else ""
