"""Programs around the web: pages of a local server, an agent behind an asynchronous server."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from scripted import actions, call, code, prepared, quiet

PAGES = {
    "/": ("text/html", "<html><body><h1>Towers</h1><p>See <a href='/eiffel'>the first</a>.</p></body></html>"),
    "/eiffel": ("text/html", "<html><body><h2>Eiffel</h2><p>It is <b>330</b> metres high.</p></body></html>"),
    "/long": ("text/html", "<p>" + "word " * 20_000 + "</p>"),
}


@contextmanager
def _pages():
    class Pages(BaseHTTPRequestHandler):
        def do_GET(self):
            kind, text = PAGES.get(self.path, ("text/plain", "not here"))
            self.send_response(200 if self.path in PAGES else 404)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def visit_webpage(lib: Any) -> Any:
    """VisitWebpageTool in both kinds of agent: Markdown of a page, a page that is not there, a page too long."""
    with _pages() as address:
        text = f"""
page = visit_webpage({address + "/eiffel"!r})
print(page)
"""
        model = prepared(lib, code(text), code("final_answer('330' in page)"))
        coder = lib.CodeAgent(tools=[lib.VisitWebpageTool()], model=model, **quiet(lib))
        answer = coder.run("How high?")
        page = actions(lib, coder.memory)[0].observations
        calls = prepared(
            lib,
            call("visit_webpage", url=address + "/"),
            call("visit_webpage", url=address + "/nowhere"),
            call("final_answer", answer="found"),
        )
        caller = lib.ToolCallingAgent(tools=[lib.VisitWebpageTool()], model=calls, **quiet(lib))
        caller.run("What is there?")
        first, second = actions(lib, caller.memory)[:2]
        cut = lib.VisitWebpageTool(max_output_length=1000)(address + "/long")
    return {
        "answer": answer,
        "heading": "Eiffel" in page,
        "bold": "**330**" in page,
        "link": "](/eiffel)" in first.observations,
        "missing page told": "404" in (second.observations or ""),
        "cut": len(cut) < 2000,
    }


def asynchronous_server(lib: Any) -> Any:
    """An asyncio server that runs the agent in a thread for each request; two requests at once."""

    def work(task: str) -> Any:
        agent = lib.CodeAgent(tools=[], model=prepared(lib, code(f"final_answer(len({task!r}))")), **quiet(lib))
        return agent.run(task)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = json.loads(await reader.readline())["task"]
        result = await asyncio.to_thread(work, task)
        writer.write(json.dumps({"result": result}).encode() + b"\n")
        await writer.drain()
        writer.close()

    async def ask(port: int, task: str) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(json.dumps({"task": task}).encode() + b"\n")
        reply = json.loads(await reader.readline())
        writer.close()
        return reply

    async def main() -> list:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.gather(ask(port, "three"), ask(port, "a longer one"))

    return asyncio.run(main())
