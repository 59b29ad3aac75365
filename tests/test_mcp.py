"""The MCP client, against real servers: of the Python SDK over stdio, streamable HTTP and SSE, and one from npm."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from model_server import unused_address

from smol_kernel import CodeAgent, LogLevel, ScriptedModel
from smol_kernel.errors import ConfigError, MCPServerError, MCPTimeoutError, ToolError
from smol_kernel.events import ToolReturned, listening
from smol_kernel.models.requests import get_tool_json_schema
from smol_kernel.tools.collection import ToolCollection
from smol_kernel.tools.mcp import MCPClient
from smol_kernel.tools.mcp_schema import read_inputs, tool_names

SERVER = Path(__file__).with_name("mcp_server.py")
EVERYTHING = "@modelcontextprotocol/server-everything@2026.8.31"


def stdio(*arguments, **fields):
    return {"command": sys.executable, "args": [str(SERVER), *(arguments or ["stdio"])], **fields}


def by_name(client):
    return {tool.name: tool for tool in client.get_tools()}


class HttpServer:
    """A server in a process of its own, over HTTP; it can be killed, and started again at the same port."""

    def __init__(self, mode):
        self.mode, self.port, self.process = mode, 0, None
        self.start()
        self.transport = {"http": "streamable-http", "sse": "sse"}[mode]
        self.url = f"http://127.0.0.1:{self.port}/{'mcp' if mode == 'http' else 'sse'}"
        self.spec = {"url": self.url, "transport": self.transport}

    def start(self):
        command = [sys.executable, str(SERVER), self.mode, str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def http():
    server = HttpServer("http")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def sse():
    server = HttpServer("sse")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def client():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "secret")
        with_env = StdioServerParameters(command=sys.executable, args=[str(SERVER), "stdio"], env={"GIVEN": "yes"})
        client = MCPClient(with_env)
    yield client
    client.disconnect()


@pytest.fixture
def tools(client):
    return by_name(client)


class WebSite(BaseHTTPRequestHandler):
    """No MCP server: pages, for those who have the key."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401 if self.headers["Authorization"] != "Bearer key" else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def web_site():
    with ThreadingHTTPServer(("127.0.0.1", 0), WebSite) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """The server of the protocol's authors, from npm; where npm is missing this fails."""
    folder = tmp_path_factory.mktemp("npm")
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("npm is not found: install Node.js, the MCP client is tested with a server from npm")
    command = [npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder), EVERYTHING]
    subprocess.run(command, check=True, timeout=150, stdin=subprocess.DEVNULL)
    return str(folder / "node_modules/@modelcontextprotocol/server-everything/dist/index.js")


# What a model reads of the tools, and what it gets


def test_a_tool_is_described_by_the_servers_schema(tools):
    assert tools["get_sum"].signature == (
        "get_sum(numbers: list[int], unit: Literal['m', 'km'] = 'm', scale: float | None = None) -> Any"
    )
    person = tools["register"].inputs["person"]
    assert person["type"] == "object" and person["required"] == ["name"]
    assert person["properties"]["age"] == {"type": "integer", "nullable": True, "description": "Age"}
    assert person["properties"]["addresses"]["items"]["properties"]["city"]["default"] == "Paris"
    assert "name (str), age (int | None, optional), addresses (list[dict], optional)" in person["description"]
    assert "city: Name of the city." in tools["weather"].to_code_prompt()
    assert all(tool.threaded and tool.output_type == "object" for tool in tools.values())


def test_arguments_and_texts_cross(tools):
    assert tools["echo"]("Grüße 🌍") == "Grüße 🌍"
    assert tools["echo"]({"text": "as in smolagents"}) == "as in smolagents"
    assert tools["get_sum"]((1, 2), scale=2, unit="km") == "6 km"
    assert tools["get_sum"](numbers=[1], scale=None) == "1 m"
    assert tools["register"]({"name": "Ada", "addresses": [{"street": "x"}]}, {"a": 1}) == "Ada None ['Paris'] {'a': 1}"
    assert tools["texts"]() == "one\ntwo"
    assert tools["nothing"]() is None


def test_alternatives_keep_their_shape_and_null_is_not_the_same_as_left_out(tools):
    draw = tools["draw"]
    assert draw.signature == "draw(shapes: list[dict], size: int | list[int], most: int | None = 10) -> Any"
    kinds = ("kind (Literal['circle']), radius (float)", "kind (Literal['box']), sides (list[float])")
    assert f"Keys: {kinds[0]}; or {kinds[1]}." in draw.inputs["shapes"]["description"]
    sent = get_tool_json_schema(draw)["function"]["parameters"]["properties"]
    assert [shape["required"] for shape in sent["shapes"]["items"]["anyOf"]] == [["kind", "radius"], ["kind", "sides"]]
    shapes = [{"kind": "circle", "radius": 1}, {"kind": "box", "sides": [1, 2]}]
    assert draw(shapes, [3]) == "['circle', 'box'] [3] 10"
    assert draw(shapes, 3, most=None) == "['circle', 'box'] 3 None"
    with pytest.raises(ToolError, match="needs an integer for 'size\\[0\\]'"):
        draw(shapes, ["3"])


def test_contents_of_other_kinds(tools):
    image = tools["picture"](width=4, height=3)
    assert image.size == (4, 3)
    assert tools["sound"]() == b"RIFFdata"
    assert tools["mixed"]() == ["first", "a memo", b"\x00\x01", "linked: memo://3"]


@pytest.mark.parametrize("where", ["http", "sse"])
def test_structured_output(request, where):
    with MCPClient(request.getfixturevalue(where).spec, structured_output=True) as found:
        tools = {tool.name: tool for tool in found}
        assert tools["weather"]("Rome") == {"city": "Rome", "degrees": 21.5}
        assert tools["weather"].output_schema["properties"]["degrees"]["type"] == "number"
        assert tools["weather"].signature.endswith("-> dict")
        assert tools["as_json"]() == {"answer": [42]}
        assert tools["echo"]("no JSON") == "no JSON"
        assert tools["picture"]().size == (4, 3)


def test_without_structured_output_all_is_text(tools):
    assert tools["weather"]("Rome").replace(" ", "").split() == ["{", '"city":"Rome",', '"degrees":21.5', "}"]
    assert tools["as_json"]() == '{"answer": [42]}'
    assert tools["weather"].output_schema is None


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda t: t["fail"]("the disk is full"), MCPServerError, "mcp_server.py, tool 'fail': .*the disk is full"),
        (lambda t: t["register"]({"age": 1}), ToolError, "needs the key 'name' in 'person'"),
        (lambda t: t["get_sum"]("12"), ToolError, "needs a list for 'numbers', not the str '12'"),
        (lambda t: t["get_sum"]([1], unit="cm"), ToolError, "needs one of 'm', 'km'"),
        (lambda t: t["get_sum"](), ToolError, "needs the argument 'numbers'"),
        (lambda t: t["get_sum"]([1], scale=float("nan")), ToolError, "scale is nan, which JSON cannot say"),
        (lambda t: t["register"]({"name": {1: object()}}), ToolError, r"needs a string for \"person\['name'\]\""),
        (lambda t: t["large"](65 << 20), MCPServerError, "It wrote a message of more than 64 MB"),
        (lambda t: t["picture"](9_000, 9_000), MCPServerError, "9000 x 9000 pixels, more than 50,000,000"),
    ],
)
def test_what_goes_wrong_in_a_call_is_said(tools, call, error, words):
    with pytest.raises(error, match=words):
        call(tools)
    assert tools["echo"]("still there") == "still there"


def test_an_answer_over_http_is_capped_while_it_is_read(http):
    with MCPClient(http.url) as tools:
        tools = {tool.name: tool for tool in tools}
        assert len(tools["large"](3 << 20)) == 3 << 20
        with pytest.raises(MCPServerError, match="larger than 64 MB"):
            tools["large"](65 << 20)
        assert tools["echo"]("still there") == "still there"


def test_odd_schemas_and_names_are_made_to_fit():
    with MCPClient(stdio("odd", "8")) as tools:
        names = [tool.name for tool in tools]
        assert names == ["open_", "a_b_2", "a_b", "_1st", "import_", "final_answer_", "weißgut", "tool"]
        tool = tools[0]
        assert tool.signature == (
            "open_(class_: Literal['a', 'b'] | None, tree: dict, user_id: int | None = 0, far: Any = None, "
            "both: str | list[str] | None = None) -> Any"
        )
        assert tool.inputs["tree"]["description"].startswith("A red tree. Keys: children (list[dict], optional)")
        assert len(tool.description) == 8_000
        said, left_out = tool("a", {"children": []}, user_id=7).splitlines()
        assert said == "open [('class', 'a'), ('tree', {'children': []}), ('user-id', 7)]"
        assert "left out: an image that cannot be read" in left_out
        assert tool(tree={}).startswith("open [('class', None), ('tree', {})]")
    with pytest.raises(MCPServerError, match="offers more than 500 tools"):
        MCPClient(stdio("odd", "700"))


def test_names_of_several_servers():
    tools = [("git-hub", "search"), ("jira/x", "search"), ("jira/x", "close"), ("jira/x", "search")]
    assert tool_names(tools) == ["git_hub_search", "jira_x_search", "close", "jira_x_search_2"]
    assert tool_names([("s", "get-x"), ("s", "get_x"), ("s", "get-x")]) == ["get_x_2", "get_x", "get_x_3"]


@pytest.mark.parametrize("order", [("a-b", "a_b"), ("a_b", "a-b")])
@pytest.mark.parametrize("required", [[], ["a-b"], ["a_b"]])
def test_an_input_that_needs_no_other_name_keeps_its_own(order, required):
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in order}, "required": required}
    _, wire, needed, _ = read_inputs(schema)
    assert wire == {"a_b": "a_b", "a_b_2": "a-b"}
    assert [wire[name] for name in needed] == required


@pytest.mark.parametrize(
    "schema", [None, [], {"properties": [1]}, {"$ref": "#"}, {"properties": {"a": True, "b": None}}]
)
def test_a_schema_that_says_nothing_stops_nothing(schema):
    inputs, _, required, _ = read_inputs(schema)
    assert not required and all(spec["type"] == "any" for spec in inputs.values())


def test_a_stdio_server_gets_no_keys_of_the_host(tools):
    environment = dict(line.split("=", 1) for line in tools["environment"]().splitlines())
    assert environment["GIVEN"] == "yes" and "OPENAI_API_KEY" not in environment
    assert environment.keys() <= {"GIVEN", "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LC_CTYPE"}


# Calls under way


def test_progress_and_warnings_reach_the_listener_of_the_call(tools):
    heard = []
    with listening(heard.append):
        assert tools["count"](3) == "done"
    tools["count"](1)
    assert [(e.tool, e.text, e.done, e.total) for e in heard] == [
        ("count", "at 1", 1, 3),
        ("count", "at 2", 2, 3),
        ("count", "at 3", 3, 3),
        ("count", "warning: counted", None, None),
    ]


@pytest.mark.parametrize("where", ["http", "stdio"])
def test_calls_run_side_by_side_through_one_connection(request, tools, where):
    remote = MCPClient(request.getfixturevalue("http").url) if where == "http" else None
    tools = by_name(remote) if remote else tools
    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(lambda _: tools["meet"](5), range(5))) == ["met"] * 5  # each waits for the others
    assert len({tools["pid"]() for _ in range(3)}) == 1
    if remote:
        remote.disconnect()


def test_a_call_that_takes_too_long_is_cancelled_on_the_server(tmp_path):
    client = MCPClient(stdio(), adapter_kwargs={"call_timeout": 0.5})
    tools, began, cancelled = by_name(client), threading.Event(), tmp_path / "cancelled"
    with listening(lambda event: began.set()):
        while not began.is_set():  # a busy machine may not come to it in that time
            with pytest.raises(MCPTimeoutError, match=r"tool 'hang': no answer within 0.5 s.*call_timeout"):
                tools["hang"](str(cancelled))
    client._servers[0]._call_timeout = 60  # this one has to succeed
    assert tools["echo"]("answered after that") == "answered after that"
    while not cancelled.exists():
        threading.Event().wait(0.01)
    client.disconnect()


def test_disconnect_ends_the_calls_under_way(http):
    client = MCPClient(http.url)
    tools, started, errors = by_name(client), threading.Event(), []

    def call():
        with listening(lambda event: started.set()), pytest.raises(MCPServerError) as caught:
            tools["hang"]("")
        errors.append(str(caught.value))

    thread = threading.Thread(target=call)
    thread.start()
    assert started.wait(20)
    client.disconnect()
    thread.join(20)
    assert "tool 'hang': disconnected during the call" in errors[0]
    with pytest.raises(ToolError, match=r"not connected.*connect"):
        client.get_tools()
    with pytest.raises(MCPServerError, match="not connected"):
        tools["echo"]("x")
    client.connect()
    assert tools["echo"]("the same tool, connected again") == "the same tool, connected again"
    client.disconnect()
    client.disconnect()


# Servers that go away


def test_a_server_that_died_is_named_and_started_again(tools):
    first = tools["pid"]()
    with pytest.raises(MCPServerError) as caught:
        tools["die"]()
    assert "mcp_server.py, tool 'die': the connection was lost during the call" in str(caught.value)
    assert "the last words" in str(caught.value)
    assert tools["pid"]() != first


@pytest.mark.parametrize("mode", ["http", "sse"])
def test_an_http_server_that_was_started_again(request, mode):
    server = request.getfixturevalue(mode)
    with MCPClient(server.spec) as tools:
        tools = {tool.name: tool for tool in tools}
        server.kill()
        with pytest.raises(MCPServerError, match=f"{server.url} cannot be reached|{server.url}, tool 'echo': .*lost"):
            tools["echo"]("gone")
        with pytest.raises(MCPServerError, match="cannot be reached"):
            tools["echo"]("still gone")
        server.start()
        assert tools["echo"]("back") == "back"


def test_the_portal_ends_with_its_last_holder():
    tools = by_name(MCPClient(stdio()))
    gc.collect()
    pid, portals = int(tools["pid"]()), [t for t in threading.enumerate() if t.name == "mcp portal"]
    assert tools["echo"]("works without its client") == "works without its client"
    del tools
    gc.collect()
    portals[-1].join(30)
    assert not portals[-1].is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_portal_ends_with_the_interpreter():
    code = f"""
from smol_kernel.tools.mcp import MCPClient
client = MCPClient({stdio()!r})
print({{tool.name: tool for tool in client.get_tools()}}["pid"]())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0 and done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


# Bad parameters


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (7, "StdioServerParameters, a dict or a URL, not as 7"),
        ([], "empty list"),
        ({}, 'either "url".*or "command"'),
        ({"url": "http://x/mcp", "command": "x"}, 'either "url".*or "command"'),
        ("127.0.0.1:8000/mcp", "write it in full, as http://"),
        ("ftp://x/mcp", "write it in full, as http://"),
        ("http://x:99999/mcp", "Port out of range"),
        ({"url": "http://x/mcp", "transport": "ws"}, "transport 'ws' is unknown: use 'streamable-http' or 'sse'"),
        ({"url": "http://x/mcp", "headers": {"a": 1}}, "dict of strings"),
        ({"command": "x", "token": "secret"}, "no parameter 'token'"),
        ({"command": "x", "args": "y"}, "args: Input should be a valid list"),
        ({"command": ""}, '"command" is empty'),
        ({"command": "x", "cwd": "/no/such/folder"}, "'/no/such/folder' is no folder"),
    ],
)
def test_wrong_parameters_are_named(parameters, words):
    with pytest.raises(ConfigError, match=words):
        MCPClient(parameters)


@pytest.mark.parametrize(
    ("given", "words"),
    [({"connect_timeout": "3"}, "connect_timeout has to be a number"), ({"retries": 3}, "no 'retries': there are")],
)
def test_wrong_adapter_kwargs_are_named(given, words):
    with pytest.raises(ConfigError, match=words):
        MCPClient(stdio(), adapter_kwargs=given)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"command": "no-such-command"}, "the command 'no-such-command' is not found"),
        ({"command": __file__}, "is not executable"),
        ({"command": sys.executable, "args": ["-c", "print('hello')"]}, "ended before it answered.*'hello'"),
        ({"command": sys.executable, "args": ["-c", "raise SystemExit('no config')"]}, "stderr:\n +no config"),
        ({"command": "cat"}, "MCP server cat did not answer as an MCP server"),
        (unused_address, "cannot be reached"),
    ],
    ids=["missing", "not executable", "no server", "fails", "no protocol", "nobody there"],
)
def test_what_is_no_mcp_server_is_said(parameters, words, capfd):
    parameters = parameters() if callable(parameters) else parameters
    with pytest.raises(MCPServerError, match=f"(?s){words}"):
        MCPClient(parameters)
    assert capfd.readouterr() == ("", "")  # nothing of the server or the SDK spills into the notebook


def test_a_server_that_is_silent_runs_into_the_connect_timeout():
    silent = {"command": sys.executable, "args": ["-c", "import sys; sys.stdin.read()"]}
    with pytest.raises(MCPTimeoutError, match=r"did not answer within 0.5 s.*connect_timeout"):
        MCPClient(silent, adapter_kwargs={"connect_timeout": 0.5})


def test_a_keyboard_interrupt_that_another_thread_hears_ends_the_wait_for_a_silent_server(tmp_path):
    for fifo in (begun := tmp_path / "begun", over := tmp_path / "over"):
        os.mkfifo(fifo)
    silent = {
        "command": sys.executable,
        "args": ["-c", f"open({str(begun)!r}, 'w').close(); open({str(over)!r}).read()"],
    }

    def press():  # the main thread is not woken by it
        begun.read_text()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    gives_up = threading.Timer(60, over.write_text, [""])
    gives_up.start()
    with pytest.raises(KeyboardInterrupt):
        MCPClient(silent, adapter_kwargs={"connect_timeout": None})
    assert gives_up.is_alive()
    gives_up.cancel()


def test_so_does_it_for_a_call_that_is_not_answered():
    def press(event):  # it has begun, and the main thread waits for more, or will
        main = threading.main_thread().ident

        def send():
            while sys._current_frames()[main].f_code.co_name != "arrival":
                pass
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

        threading.Thread(target=send, daemon=True).start()

    client = MCPClient(stdio())
    with client:
        hang = by_name(client)["hang"]
        gives_up = threading.Timer(60, client.disconnect)
        gives_up.start()
        with pytest.raises(KeyboardInterrupt), listening(press):
            hang("")
        assert gives_up.is_alive()
        gives_up.cancel()


def test_what_http_refuses_is_said(http, sse):
    with pytest.raises(MCPServerError, match=r"HTTP 404.*no MCP server at this path"):
        MCPClient(http.url + "/wrong?token=secret")
    with pytest.raises(MCPServerError, match=r"HTTP 405.*is the transport right"):
        MCPClient({"url": sse.url})


def test_a_web_site_is_no_mcp_server(web_site):
    with pytest.raises(MCPServerError, match=r"/private refused: HTTP 401.*Authorization") as caught:
        MCPClient({"url": f"{web_site}/private?token=secret", "headers": {"Authorization": "Bearer other"}})
    assert "secret" not in str(caught.value) and "other" not in str(caught.value).replace("other ones", "")
    with pytest.raises(MCPServerError, match=r"/private did not answer as an MCP server: .*text/html"):
        MCPClient({"url": f"{web_site}/private", "headers": {"Authorization": "Bearer key"}})


@pytest.mark.parametrize(
    ("version", "words"),
    [(None, "pip install 'smol-kernel[mcp]'"), ("1.9.4", "need version 2 of the package 'mcp', not 1.9.4")],
)
def test_the_sdk_is_needed_in_version_2(tmp_path, version, words):
    package = tmp_path / "mcp"
    package.mkdir()
    (package / "__init__.py").write_text("" if version else "raise ModuleNotFoundError('No module named mcp')")
    (tmp_path / "mcp-1.9.4.dist-info").mkdir()
    (tmp_path / "mcp-1.9.4.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mcp\nVersion: 1.9.4\n")
    code = "from smol_kernel.tools.mcp import MCPClient; MCPClient('http://127.0.0.1:9/mcp')"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert "MissingDependencyError" in done.stderr and words in done.stderr


# In an agent


def test_an_action_uses_two_servers(everything, client, tmp_path):
    npm = {"command": "node", "args": [everything, "stdio"]}
    action = """
import asyncio
sums = await asyncio.gather(*(mcp_servers_everything_get_sum.aio(a=n, b=1) for n in range(3)))
try:
    fail("no paper")
except RuntimeError as error:
    caught = str(error)
picture(width=8, height=2)
count(2)
final_answer([sums, testing_get_sum([1, 2]), caught, picture(width=8, height=2).size, weather("Rome")])
"""
    with ToolCollection.from_mcp([npm, stdio()], trust_remote_code=True, structured_output=True) as collection:
        model = ScriptedModel([f"Next.\n<code>\n{action}\n</code>"])
        with CodeAgent(
            tools=[*collection.tools], model=model, verbosity_level=LogLevel.OFF, journal=tmp_path / "journal.sqlite"
        ) as agent:
            events = list(agent.events("Use both."))
    answer = agent.memory.steps[-1].action_output
    assert answer[0] == [f"The sum of {n} and 1 is {n + 1}." for n in range(3)]
    assert answer[1] == "3 m" and answer[2].endswith("no paper") and answer[3] == (8, 2)
    assert answer[4] == {"city": "Rome", "degrees": 21.5}
    returned = {event.tool: event for event in events if isinstance(event, ToolReturned) and not event.ok}
    assert returned["fail"].error_type == "MCPServerError"


def test_a_server_from_npm(everything):
    with MCPClient({"command": "node", "args": [everything, "stdio"]}, structured_output=True) as tools:
        tools = {tool.name: tool for tool in tools}
        heard = []
        with listening(heard.append):
            tools["trigger_long_running_operation"](duration=0.2, steps=2)
        assert [(event.done, event.total) for event in heard if event.done] == [(1, 2), (2, 2)]
        weather = tools["get_structured_content"]("Chicago")
        assert weather.keys() == tools["get_structured_content"].output_schema["properties"].keys()
        assert "resource" in tools["get_resource_links"](count=2)
        assert "SHELL" in tools["get_env"]() or "PATH" in tools["get_env"]()
        with pytest.raises(MCPServerError, match=r"MCP server node index\.js, tool 'get-resource-reference'"):
            tools["get_resource_reference"](resourceId=-1)


def test_a_session_the_server_forgot_is_opened_again(everything):
    """This one speaks the older protocol, which has sessions, and tells that one is over by 400."""
    port = unused_address().split(":")[2].split("/")[0]

    def start():
        environment = {**os.environ, "PORT": port}
        process = subprocess.Popen(
            ["node", everything, "streamableHttp"], env=environment, stderr=subprocess.PIPE, text=True
        )
        assert any("listening" in line for line in process.stderr)
        return process

    process = start()
    with MCPClient(f"http://127.0.0.1:{port}/mcp") as tools:
        echo = next(tool for tool in tools if tool.name == "echo")
        assert echo("first") == "Echo: first"
        process.kill()
        process.communicate()
        process = start()
        assert echo("second") == "Echo: second"
    process.kill()
    process.communicate()


def test_a_server_of_others_has_to_be_trusted():
    with pytest.raises(ConfigError, match="trust_remote_code=True"), ToolCollection.from_mcp(stdio()):
        pass
