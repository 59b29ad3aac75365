"""A real JupyterLab in a process of its own, and a notebook page in Chromium as a person uses it.

Every wait is for a condition on the page; nothing sleeps.
"""

from __future__ import annotations

import json
import os
import queue
import re
import secrets
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import nbformat
from playwright.sync_api import Browser, BrowserContext, Locator, Page

ROOT = Path(__file__).parents[2]
START_SECONDS = 120
WAIT_MS = 60_000

SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/apputils-extension:themes": {"adaptive-theme": False, "theme": "JupyterLab Light"},
    # Cells outside the window stay in the page, where a test can read them.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/completer-extension:manager": {"autoCompletion": False},
}

FOLLOW = """panel => {
  // By cell id, the requests sent for it; the reply and the end of the outputs are noted as they come.
  const sent = {}, replied = new Set(), idle = new Set();
  panel.sessionContext.session.kernel.anyMessage.connect((_, { msg, direction }) => {
    const type = msg.header.msg_type, parent = msg.parent_header && msg.parent_header.msg_id;
    if (direction === 'send' && type === 'execute_request' && msg.metadata.cellId)
      (sent[msg.metadata.cellId] ??= []).push(msg.header.msg_id);
    if (direction === 'recv' && type === 'execute_reply') replied.add(parent);
    if (direction === 'recv' && type === 'status' && msg.content.execution_state === 'idle') idle.add(parent);
  });
  const model = (panel, index) => panel.content.model.sharedModel.cells[index];
  window.executions = {
    of: (panel, index) => sent[model(panel, index).id] || [],
    ended: (panel, index) => {
      const last = window.executions.of(panel, index).slice(-1)[0];
      return replied.has(last) && idle.has(last) && model(panel, index).executionState !== 'running';
    },
  };
}"""


class Lab:
    """A JupyterLab server that sees only what the tests give it: own settings, own journal, our labextension."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.notebooks = home / "notebooks"
        self.token = secrets.token_hex(8)
        self.url = ""
        self._log: list[str] = []
        self._install()
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
                "--expose-app-in-browser", "--JupyterNotebookApp.expose_app_in_browser=True",
                f"--IdentityProvider.token={self.token}",
                f"--ServerApp.root_dir={self.notebooks}",
            ],
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self._wait_for_url()

    def _install(self) -> None:
        """What `pip install` would put into share/jupyter, and settings that keep the page quiet."""
        self.notebooks.mkdir(parents=True)
        share = self.home / "share" / "jupyter"
        shutil.copytree(ROOT / "smol_magic" / "labextension", share / "labextensions" / "smol-kernel")
        kernel = share / "kernels" / "agent"
        shutil.copytree(ROOT / "kernelspec", kernel)
        spec = json.loads((kernel / "kernel.json").read_text())
        spec["argv"][0] = sys.executable
        (kernel / "kernel.json").write_text(json.dumps(spec))
        labconfig = self.home / "config" / "labconfig"
        labconfig.mkdir(parents=True)
        (labconfig / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER_", "SMOL_"))}
        return {
            **inherited,
            "JUPYTER_CONFIG_DIR": str(self.home / "config"),
            "JUPYTER_DATA_DIR": str(self.home / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.home / "runtime"),
            "JUPYTER_PATH": str(self.home / "share" / "jupyter"),
            "IPYTHONDIR": str(self.home / "ipython"),
            "MPLCONFIGDIR": str(self.home / "matplotlib"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            "SMOL_JOURNAL": str(self.home / "journal.sqlite"),
        }

    def _wait_for_url(self) -> None:
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()

        def read() -> None:
            for line in self._process.stderr:
                self._log.append(line)
                lines.put(line)
            lines.put("")

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()
        while True:
            line = lines.get(timeout=START_SECONDS)
            if not line:
                raise RuntimeError("JupyterLab did not start:\n" + self.log)
            if found := re.search(r"(http://127\.0\.0\.1:\d+)/lab", line):
                self.url = found[1]
                return

    @property
    def log(self) -> str:
        """What the server said so far."""
        return "".join(self._log)

    def write(self, name: str, cells: list[str], kernel: str = "python3") -> Path:
        """A notebook of code cells in the server's folder."""
        display_name = "Agent" if kernel == "agent" else "Python 3 (ipykernel)"
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells],
            metadata={"kernelspec": {"name": kernel, "display_name": display_name, "language": "python"}},
        )
        path = self.notebooks / name
        nbformat.write(notebook, path)
        return path

    def end_sessions(self) -> None:
        """End all kernels, so that a notebook opened next finds none of its widgets."""
        for session in self._api("GET", "sessions"):
            try:
                self._api("DELETE", f"sessions/{session['id']}")
            except HTTPError as error:
                if error.code != 404:  # a page that closes may have ended it meanwhile
                    raise

    def _api(self, method: str, path: str) -> Any:
        request = Request(f"{self.url}/api/{path}", method=method, headers={"Authorization": f"token {self.token}"})
        with urlopen(request, timeout=START_SECONDS) as answer:
            return json.loads(answer.read() or b"null")

    def close(self) -> None:
        """Shut the server down; it ends its kernels."""
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stderr.close()


def chromium_path() -> str:
    """The system's Chromium. Raises RuntimeError with the command that installs one."""
    names = [os.environ.get("SMOL_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    for name in filter(None, names):
        if found := shutil.which(name):
            return found
    raise RuntimeError(
        "No Chromium was found for the browser tests. Install one (Debian, Ubuntu: apt-get install chromium), or "
        "name an executable in SMOL_CHROMIUM; `pytest -m 'not browser'` leaves these tests out."
    )


class NotebookPage:
    """One tab with one notebook. Cells are counted from 0."""

    def __init__(
        self, context: BrowserContext, lab: Lab, name: str, workspace: str = "default", app: str = "lab"
    ) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.console: list[str] = []
        self.page.on("console", lambda message: self.console.append(message.text))
        path = f"lab/workspaces/{workspace}/tree" if app == "lab" else "notebooks"
        self.page.goto(f"{lab.url}/{path}/{name}?token={lab.token}&reset")
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Until the notebook is shown and its kernel answers."""
        self.wait_until_shown()
        self.wait_until_idle()

    def wait_until_shown(self) -> None:
        """Until the notebook is shown, whatever its kernel does. From then on its executions are followed."""
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.wait_for("panel => panel.sessionContext.session?.kernel?.connectionStatus === 'connected'")
        self.ask(FOLLOW)

    def wait_for(self, condition: str, argument: Any = None) -> None:
        """Until `condition`, a JavaScript function of the notebook panel and an argument, is true."""
        self.page.wait_for_function(
            f"argument => {{ const panel = window.jupyterapp?.shell.currentWidget;"
            f" return panel?.content?.model && ({condition})(panel, argument); }}",
            arg=argument,
            timeout=WAIT_MS,
        )

    def ask(self, function: str, argument: Any = None) -> Any:
        """What `function`, a JavaScript function of the notebook panel and an argument, returns."""
        return self.page.evaluate(
            f"argument => ({function})(window.jupyterapp.shell.currentWidget, argument)", argument
        )

    def cells(self) -> list[dict[str, Any]]:
        """All cells of the notebook's model, as they would be saved."""
        return self.ask("panel => panel.content.model.sharedModel.cells.map(cell => cell.toJSON())")

    def sources(self) -> list[str]:
        """The sources of all cells."""
        return [cell["source"] for cell in self.cells()]

    def cell(self, index: int) -> Locator:
        """The cell on the page."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int) -> Locator:
        """The output area of a cell on the page."""
        return self.cell(index).locator(".jp-OutputArea-output")

    def start(self, index: int) -> None:
        """Run a cell as a person does, and return when it has been sent."""
        before = self.ask("(panel, index) => window.executions.of(panel, index).length", index)
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        self.wait_for("(panel, [index, before]) => window.executions.of(panel, index).length > before", [index, before])

    def wait_for_end(self, index: int) -> None:
        """Until the cell that was started last has ended and shows all of its outputs."""
        self.wait_for("(panel, index) => window.executions.ended(panel, index)", index)

    def has_ended(self, index: int) -> bool:
        """Whether the cell that was started last has ended."""
        return self.ask("(panel, index) => window.executions.ended(panel, index)", index)

    def run(self, index: int) -> None:
        """Run a cell and wait until it has ended."""
        self.start(index)
        self.wait_for_end(index)

    def run_below(self, index: int) -> None:
        """Run this cell and all below it, and wait until they have ended."""
        self.cell(index).click()
        self.command("notebook:run-all-below")
        self.wait_for(
            "(panel, index) => panel.content.widgets.slice(index).every((cell, offset) =>"
            " cell.model.type !== 'code' || window.executions.ended(panel, index + offset))",
            index,
        )

    def wait_until_idle(self) -> None:
        """Until the kernel has nothing to do."""
        self.wait_for("panel => panel.sessionContext.session?.kernel?.status === 'idle'")

    def press_interrupt(self) -> None:
        """Press ■ in the notebook's toolbar."""
        self.page.locator('.jp-NotebookPanel-toolbar [data-jp-item-name="interrupt"]').click()

    def scroll_to(self, index: int) -> None:
        """Bring the top of a cell to the top of the window."""
        self.cell(index).evaluate("cell => cell.scrollIntoView({block: 'start'})")

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Execute a command of JupyterLab, as its menus do."""
        call = "([name, arguments]) => window.jupyterapp.commands.execute(name, arguments)"
        self.page.evaluate(call, [name, arguments or {}])

    def set_theme(self, theme: str) -> None:
        """ "Light" or "Dark"."""
        self.command("apputils:change-theme", {"theme": f"JupyterLab {theme}"})
        self.page.wait_for_selector(f'body[data-jp-theme-name="JupyterLab {theme}"]', state="attached")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def edit(self, index: int, source: str) -> None:
        """Replace what stands in a cell."""
        self.ask("(panel, [index, source]) => panel.content.model.sharedModel.cells[index].setSource(source)",
                 [index, source])  # fmt: skip

    def save(self) -> None:
        """Save the notebook and wait until it is on disk."""
        self.ask("panel => panel.context.save()")

    def text(self) -> str:
        """All text in the notebook's outputs, as it is shown."""
        return "\n".join(self.page.locator(".jp-OutputArea-output").all_inner_texts())


def launch(playwright: Any) -> Browser:
    """Chromium, without what it would send home."""
    arguments = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--no-first-run"]
    return playwright.chromium.launch(executable_path=chromium_path(), args=arguments)
