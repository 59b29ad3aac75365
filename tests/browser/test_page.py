"""Nothing that a hostile model or child wrote runs script or loads anything: in the live view, after a reload, in
the cells written back, in a trusted export, and as a web page. A server listens for whatever gets out.

The same pieces are tried raw first, so that it is known that the listener would hear of them.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import nbformat
import pytest
from hostile import pieces, puzzles
from lab import WAIT_MS, NotebookPage
from listener import Listener
from nbconvert import HTMLExporter
from playwright.sync_api import expect

from smol_kernel.events import Output
from smol_kernel.render.markdown import run_markdown, safe_markdown
from smol_kernel.render.records import StepRecord
from smol_kernel.render.transcript import Transcript

pytestmark = pytest.mark.browser

PARTS = ".smol-view, .smol-run, .jp-RenderedHTMLCommon, .jp-RenderedHTML, .jp-OutputArea-output"
"""All that is drawn from what model and child wrote."""
OF_NBCONVERT = {"cdnjs.cloudflare.com", "cdn.jsdelivr.net", "unpkg.com"}
"""Where nbconvert's own template loads its scripts from."""

LOOK = """parts => {
  const inside = selector => [...document.querySelectorAll(parts)]
    .flatMap(part => [...part.querySelectorAll(selector)]);
  const handlers = inside('*').filter(one => one.getAttributeNames().some(name => name.startsWith('on')));
  const live = inside('script,iframe,frame,object,embed,link,meta,base,form,video,audio,source,math,svg,' +
                      'mjx-container,.MathJax,.jp-RenderedMermaid,[srcset],[background],[data-commandlinker-command]');
  const loading = inside('[src]').filter(one => !/^data:image\\/(png|jpeg);base64,/.test(one.getAttribute('src')));
  const styled = inside('[style]').filter(one => /url|image-set/.test(one.getAttribute('style')));
  const sheets = inside('style').filter(one => /url\\(|@import/.test(one.textContent));
  const links = inside('a[href]').filter(one => !one.getAttribute('href').startsWith('#') && !one.closest('pre'));
  return {
    pwned: window.__pwn || [],
    found: [...handlers, ...live, ...loading, ...styled, ...sheets, ...links].map(one => one.outerHTML.slice(0, 200)),
    shown: inside('*').length,
  };
}"""

RENDER = """async (panel, texts) => {
  // As a cell of Markdown is; formulas are set once it is on the page.
  const rendermime = panel.content.rendermime, page = document.createElement('div'), found = [];
  document.body.append(page);
  for (const text of texts) {
    const renderer = rendermime.createRenderer('text/markdown');
    await renderer.renderModel(rendermime.createModel({ data: { 'text/markdown': text } }));
    page.replaceChildren(renderer.node);
    await rendermime.latexTypesetter.typeset(renderer.node);
    found.push([...renderer.node.querySelectorAll('*')]
      .filter(part => part.matches('img,mjx-container,script,iframe,.jp-RenderedMermaid')
                      || (part.matches('a[href]') && !/^(#|mailto:)/.test(part.getAttribute('href'))))
      .map(part => part.outerHTML.slice(0, 200)));
  }
  page.remove();
  return found;
}"""

SENTINEL = """async ([base, name]) => {
  // By the same ways, and later: in a frame, then as an image. What comes before it has set out by then.
  document.querySelectorAll('.jp-TrimmedOutputs-button').forEach(one => one.click());
  document.querySelectorAll('details').forEach(one => { one.open = true });
  const frame = document.createElement('iframe');
  const loaded = new Promise(resolve => { frame.onload = resolve });
  frame.srcdoc = `<img src="${base}/frame-${name}">`;
  document.body.append(frame);
  await loaded;
  for (let count = 0; count < 3; count++) await new Promise(resolve => requestAnimationFrame(resolve));
  const image = new Image();
  image.src = `${base}/${name}`;
  await new Promise(resolve => { image.onerror = image.onload = resolve });
  frame.remove();
}"""

HOSTILE = """%load_ext smol_magic
import json, pathlib, time
from smol_kernel import ScriptedModel, tool

given = json.loads(pathlib.Path("hostile.json").read_text())
pieces = given["pieces"]
m = ScriptedModel(given["replies"])

@tool
def say(piece: str) -> str:
    \"\"\"Says it again.

    Args:
        piece: what to say.
    \"\"\"
    return piece

@tool
def complain(piece: str) -> str:
    \"\"\"Fails with it.

    Args:
        piece: what to say.
    \"\"\"
    raise ValueError(piece)

@tool(threaded=True)
def gate() -> str:
    \"\"\"Waits.\"\"\"
    while not pathlib.Path("GATE").exists():
        time.sleep(0.01)
    return "open"
"""
SHOW = """\
from IPython.display import HTML, Javascript, Latex, Markdown, SVG, display, publish_display_data
for piece in pieces.values():
    display(HTML(piece)) if piece.startswith("<") else display(Markdown(piece))
"""
OTHER = """\
every = "\\n".join(pieces.values())
kinds = ["application/javascript", "image/svg+xml", "text/latex", "text/vnd.mermaid", "application/geo+json",
         "application/vnd.plotly.v1+json", "application/vnd.vega.v5+json", "application/vnd.vegalite.v5+json",
         "application/vnd.jupyter.widget-state+json", "application/x-nteract-model-debug+json", "text/x-other"]
for kind in kinds:
    publish_display_data({kind: every})
    publish_display_data({kind: {"data": [every], "usermeta": {"embedOptions": {"loader": every}}}, "text/html": every})
publish_display_data({"application/vnd.jupyter.widget-view+json": {"model_id": "x", "version_major": 2}})
publish_display_data({"application/json": {"a": every}}, metadata={"isolated": True, "text/html": {"isolated": True}})
for piece in pieces.values():
    publish_display_data({"image/png": f'AAAA" onerror="{piece}', "image/jpeg": piece, "image/svg+xml": piece})
import comm
comm.create_comm(target_name="jupyter.widget", data={"state": {"_model_name": "HTMLModel", "value": every}},
                 metadata={"version": "2.1.0"})
get_ipython().set_next_input(every)
"""


def replies(all_pieces):
    """What the model says: each of its actions has the pieces somewhere else."""
    every = list(all_pieces.values())
    words = "\n\n".join(every)
    comments = "\n".join(f"# {line}" for line in words.splitlines())
    actions = [
        (words, f"'''{json.dumps(every)}'''\nprint(*pieces.values(), sep='\\n')\n{comments}"),
        (every[0], SHOW + "\ngate()"),
        ("It goes on.", OTHER + "\nimport sys\nprint(*pieces.values(), file=sys.stderr)\nevery"),
        (every[0], "class Evil(Exception): pass\nEvil.__name__ = every[:90]\nraise Evil(every)"),
        ("It calls.", "for piece in [*pieces.values()][::3]:\n    say(piece=piece)\n    try: complain(piece=piece)\n"
                      "    except Exception as error: print(error)\n" + comments),
        ("It fails.", f"complain(piece=every)  # {every[0]}"),
        (every[1], f"def f():\n    {every!r}\n    raise KeyError(*pieces.values())\nf()"),
        (every[2], "import pandas as pd\ntable = {piece: [piece] for piece in list(pieces.values())[:40]}\n"
                   "final_answer(pd.DataFrame(table, index=[every[:300]]))"),
        (words, f"final_answer({words!r})"),
    ]  # fmt: skip
    return [f"{thought}\n<code>\n{code}\n</code>" for thought, code in actions]


class Watched:
    """A page whose doings are noted, and what the listener heard."""

    def __init__(self, context, listener):
        self.context, self.listener = context, listener
        self.dialogs, self.elsewhere = [], set()
        context.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.sentinels = 0
        context.route(lambda url: self.leaves(url), lambda route: route.abort())

    def leaves(self, url):
        """Whether it is an address elsewhere, which is noted and not asked."""
        host = urlsplit(url).hostname or "127.0.0.1"
        self.elsewhere |= {host} - {"127.0.0.1"}
        return host != "127.0.0.1"

    def settle(self, page):
        """Until all that the page set out to do has been heard of."""
        self.sentinels += 1
        name = f"sentinel-{self.sentinels}"
        page.evaluate(SENTINEL, [self.listener.base, name])
        assert self.listener.wait_for(f"frame-{name}", WAIT_MS / 1000)
        assert self.listener.wait_for(name, WAIT_MS / 1000)

    def assert_harmless(self, page, parts=PARTS):
        """Nothing was asked for but what we asked for ourselves, and nothing there could."""
        self.settle(page)
        seen = page.evaluate(LOOK, parts)
        assert seen["shown"] > 50
        assert seen["pwned"] == []
        assert seen["found"] == []
        assert self.dialogs == []
        assert [name for name in self.listener.asked if "sentinel" not in name] == []
        assert len(self.context.pages) == 1
        assert self.elsewhere <= OF_NBCONVERT


def trust(tab):
    """Trust the notebook, as its menu does."""
    tab.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:trust') }")
    tab.page.locator(".jp-Dialog .jp-mod-accept").click()
    tab.wait_for("panel => [...panel.content.model.cells].every(cell => cell.type !== 'code' || cell.trusted)")
    expect(tab.page.locator(".jp-Dialog")).to_have_count(0)


@pytest.fixture
def listener():
    with Listener() as server:
        yield server


def test_raw_in_a_trusted_notebook_the_pieces_do_get_out(lab, context, listener):
    """The control: what the other test finds harmless would be heard of."""
    loads, markdown = pieces(listener.base, "loads", "scripts"), pieces(listener.base, "markdown")
    outputs = [nbformat.v4.new_output("display_data", data={"text/html": piece}) for piece in loads.values()]
    cells = [nbformat.v4.new_code_cell("raw", outputs=[output]) for output in outputs]
    cells += map(nbformat.v4.new_markdown_cell, markdown.values())
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    raw = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(raw, lab.notebooks / "raw.ipynb")
    tab = NotebookPage(context, lab, "raw.ipynb")
    dialogs = []
    tab.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    trust(tab)
    Watched(context, listener).settle(tab.page)
    asked, seen = set(listener.asked), tab.page.evaluate(LOOK, PARTS)
    assert len(asked & set(loads)) > 55
    assert len(asked & set(markdown)) > 14
    assert len(seen["pwned"]) > 15
    assert len(seen["found"]) > 100
    assert dialogs == ["alert"]


def test_jupyterlab_reads_markdown_as_we_do(lab, context):
    lab.write("markdown.ipynb", [""])
    tab = NotebookPage(context, lab, "markdown.ipynb")
    texts = [*pieces("http://127.0.0.1:9").values(), *puzzles(1, 400)]
    safe = list(map(safe_markdown, texts))
    safe += [run_markdown(Transcript(task="t", rows=[a_step(number), a_step(number + 1)])) for number in range(200)]
    assert [(text, found) for text, found in zip(safe, tab.ask(RENDER, safe), strict=True) if found] == []
    raw = "".join(tab.ask(RENDER, ["\n\n".join(text for text in texts if text.startswith(("!", "$")))])[0])
    assert "<img" in raw
    assert "mjx-container" in raw


def a_step(seed):
    """A step with puzzles in all its words."""
    thought, code, error, text = puzzles(seed, 4)
    output = Output(channel="stdout", text=text)
    return StepRecord(1, thought=thought, code=code * (seed % 2), error_type="E", error=error, outputs=[output])


@pytest.mark.timeout(400)
def test_nothing_that_model_or_child_wrote_loads_or_runs(lab, context, listener, screenshot, tmp_path):
    all_pieces, gate = pieces(listener.base), lab.notebooks / "hostile-gate"
    given = {"pieces": all_pieces, "replies": replies(all_pieces)}
    (lab.notebooks / "hostile.json").write_text(json.dumps(given))
    lab.write("hostile.ipynb", [
        HOSTILE.replace("GATE", str(gate)),
        "%%agent --model m --in pieces\n" + "\n".join(all_pieces.values()),
        "%agent export first.ipynb",
        "%%agent --model m --in pieces\nOnce more.",
        "%agent export second.ipynb",
        "%%py\n" + f"pieces = {all_pieces!r}\n{SHOW}{OTHER}",
    ])  # fmt: skip
    tab = NotebookPage(context, lab, "hostile.ipynb")
    watched = Watched(context, listener)
    trust(tab)
    tab.run(0)

    tab.start(1)
    view = tab.cell(1).locator(".smol-view")
    expect(view).to_contain_text("waiting for gate")
    watched.assert_harmless(tab.page)  # while it runs
    view.evaluate("view => view.scrollIntoView()")
    screenshot(tab.page, "hostile-running")
    gate.touch()
    tab.wait_for_end(1)
    watched.assert_harmless(tab.page)
    for source in ("%agent export first", "%%agent --model m --in pieces\nOnce more.", "%agent export second", "%%py"):
        (index,) = [number for number, text in enumerate(tab.sources()) if text.startswith(source)]
        tab.run(index)
        assert not [output for output in tab.cells()[index]["outputs"] if output["output_type"] == "error"]
    written = [cell["source"] for cell in tab.cells() if "smol" in cell["metadata"] and cell["cell_type"] == "markdown"]
    assert len(max(written, key=len)) > 10_000
    watched.assert_harmless(tab.page)
    tab.output(1).last.evaluate("output => output.scrollIntoView()")
    screenshot(tab.page, "hostile-account")
    tab.save()
    tab.page.close()

    for name in ("hostile", "first"):
        lab.end_sessions()
        again = NotebookPage(context, lab, f"{name}.ipynb", workspace=name)
        watched.assert_harmless(again.page)
        trust(again)
        watched.assert_harmless(again.page)
        screenshot(again.page, f"hostile-{name}-trusted")
        again.page.close()
    for name in ("hostile", "first", "second"):
        page = context.new_page()
        (tmp_path / "page.html").write_text(HTMLExporter().from_filename(str(lab.notebooks / f"{name}.ipynb"))[0])
        page.goto(f"file://{tmp_path / 'page.html'}")
        watched.assert_harmless(page)
        screenshot(page, f"hostile-{name}-page")
        page.close()
