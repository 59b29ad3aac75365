"""Keys in the commands of MCP servers and in addresses: they serve where they are, and are written down nowhere."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from model_server import ModelServer, Status, Text

from smol_kernel.agents.code_agent import CodeAgent
from smol_kernel.errors import AgentGenerationError, ConfigError
from smol_kernel.journal import Journal
from smol_kernel.memory.known_secrets import INSTEAD, redacted, without_password, without_secret_words
from smol_kernel.memory.plainly_no_key import is_plainly_no_key
from smol_kernel.models.litellm import LiteLLMModel
from smol_kernel.models.named import model_to_go_on
from smol_kernel.models.providers import AzureOpenAIModel
from smol_kernel.serve.cli import main

KEY = "qZ81kd92ldLs02kfLq"
MCP_SERVER = f"{sys.executable} {Path(__file__).with_name('mcp_server.py')} stdio"


@pytest.fixture(autouse=True)
def journal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "journal.sqlite"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    for name in ("SMOL_MODEL", "SMOL_API_BASE", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "journal.sqlite"


PLAIN = """
private-hr · gpt-4o-mini-2024-07-18 · Qwen/Qwen2.5-72B-Instruct · sentence-transformers/all-MiniLM-L6-v2 · bfloat16
resnet50 · AutoModelForSequenceClassification · created_at · camelCaseName · utf-8 · 2024-01-31T10:00:00 · %Y-%m-%d
/data/3f2a9c1b7d6e5f40.csv · ./notes/8d1f0c7a9b.txt · s3://bucket/data/part-00001.parquet · *.csv · monkey · token
https://host.org:8080/v1/search?q=word&limit=10 · me@example.org · SELECT * FROM t WHERE n = 1 · max_tokens · Ärzte
Search the shop's catalogue (English only), at most 20 rows. · 你好，世界。 · Привет · invalid_api_key · C++
100% · iPhone · alice1984b2@gmail.com · https://search-prod-eu1.k8s.example.net:8443/v1beta1/search · sort_key date
"""
UNPLAIN = """
hunter2hunter2 · Zk3v9QpL1xT7bb- · AB12-CD34-EF56 · dXNlcjpwYXNz · p4ssw0rd · k7!Qz9w#x · sk-abcdefgh · AKIAIOSFODNN
0b1c6a9e-3d7f-4c55-9f0e-2d6f1a7b8c9d · https://u:word@host/ · https://host/?sig=word · /x9Kq3LmZ7tRw · password1
password: hunter · Pwd=hunter · x-api-key hunter · Bearer hunter · the token is hunter · --token word · 1234512345123
https://q8zr2lxv0pt7.example.org/ · https://host.org/q8zr2lxv0pt7 · Zk3v9QpL1xT7@host.org · me:Zk3v9QpL1xT7@host.org
~tK4w.Lq3!x;Zr · XK4F-9QZ2-M7PA-W3TB · bGfH_DiWu3_KWq2
"""


@pytest.mark.parametrize(("texts", "plain"), [(PLAIN, True), (UNPLAIN, False)])
def test_what_is_plainly_no_key(texts, plain):
    texts = [each.strip() for line in texts.strip().splitlines() for each in line.split(" · ")]
    assert [text for text in texts if is_plainly_no_key([text]) is not plain] == []
    assert not is_plainly_no_key(["name", "password", "value", "hunter"])
    assert is_plainly_no_key(["name", "value", "password"])


def is_written(key, folder):
    return [file for file in folder.iterdir() if file.is_file() and key.encode() in file.read_bytes()]


@pytest.mark.parametrize(
    ("command", "shown", "secret"),
    [
        ("srv --token K", "srv --token …", KEY),
        ("srv --password 'correct horse battery' -v", "srv --password … -v", "correct horse battery"),
        ("srv --api-key=K x", "srv '--api-key=…' x", KEY),
        ("docker run -i -e GITHUB_TOKEN=K -e HOST=x img", "docker run -i -e 'GITHUB_TOKEN=…' -e HOST=x img", KEY),
        ("docker run --env=API_KEY=K img", "docker run '--env=API_KEY=…' img", KEY),
        ("npx r --header 'Authorization: Bearer K'", "npx r --header 'Authorization:…'", KEY),
        ("srv --db postgres://u:plain-horse-words@h/d", "srv --db postgres://h/d", "plain-horse-words"),
        ("srv --at=http://h/?sig=01%2FabcdefK", "srv '--at=http://h/?sig=…'", f"01/abcdef{KEY}"),
        ("https://u:plain-horse-pass@h/mcp?x=1", "https://h/mcp?x=1", "plain-horse-pass"),
        ("http://h/mcp?x=1&api_key=K#f", "http://h/mcp?x=1&api_key=…#f", KEY),
        ("""srv --config '{"token": "K"}'""", """srv --config '{"token":…'""", KEY),
        (
            """srv --config '{"db": "postgres://u:plain-horse-db@h/d"}'""",
            """srv --config '{"db": "postgres://h/d"}'""",
            "plain-horse-db",
        ),
        ("sh -c 'API_URL=https://h/x API_KEY=K exec srv'", "sh -c 'API_URL=https://h/x API_KEY=…'", KEY),
        ("sh -c 'A=https://u:plain-horse-pass@h TOKEN=K srv'", "sh -c 'A=https://h TOKEN=…'", KEY),
        ("srv --opts 'auth_url=https://h/x;token=K'", "srv --opts 'auth_url=https://h/x;token=…'", KEY),
        (
            """srv --config '{"url":"https://h/x","token":"K"}'""",
            """srv --config '{"url":"https://h/x","token":…'""",
            KEY,
        ),
        (
            """srv --config '{"servers": [{"url": "https://h/x", "token": "K"}]}'""",
            """srv --config '{"servers": [{"url": "https://h/x", "token":…'""",
            KEY,
        ),
        (
            """srv '[{"auth_url":"https://h/x","api_key":"K"}]'""",
            """srv '[{"auth_url":"https://h/x","api_key":…'""",
            KEY,
        ),
        ("""srv --args '["--token", "K", "-v"]'""", """srv --args '["--token", "…", "-v"]'""", KEY),
        ("sh -c 'npx srv --token K'", "sh -c 'npx srv --token …'", KEY),
        ("sh -c 'TOKEN=K exec srv'", "sh -c 'TOKEN=…'", KEY),
        ("docker run -e MYSQL_PASS=correcthorsebattery i", "docker run -e 'MYSQL_PASS=…' i", "correcthorsebattery"),
        ("srv --secret-key correct-horse-pass", "srv --secret-key …", "correct-horse-pass"),
        ("srv --password '$ecretPassw0rd99'", "srv --password …", "$ecretPassw0rd99"),
        ("srv --token 8f3a9c1bd2e4.prod", "srv --token …", "8f3a9c1bd2e4.prod"),
        ("srv --api-key ABCD_1234_EFGH_5678", "srv --api-key …", "ABCD_1234_EFGH_5678"),
    ],
)
def test_the_keys_of_a_command_are_known_and_not_shown(command, shown, secret):
    pytest.importorskip("mcp")
    from smol_kernel.tools.mcp_servers import read_specs

    command = re.sub(r"\bK\b|(?<=abcdef)K", KEY, command)
    assert without_secret_words(command) == shown
    assert without_secret_words(shown) == shown
    first, *args = [command] if "://" in command.split()[0] else shlex.split(command)
    [spec] = read_specs({"command": first, "args": args} if args else command)
    assert secret not in spec.label
    assert redacted(f"it is {secret}, so") == f"it is {INSTEAD}, so"


@pytest.mark.parametrize(
    "command",
    [
        "python  'my server.py'   stdio -v",
        "srv --token --verbose",
        "srv --token-file /run/token --auth-url https://login.example.org/oauth",
        "srv --max-tokens 100 --tokenizer cl100k",
        "env A=1 C:/x/srv.exe http://h:80/mcp?x=1",
        "srv --key ''",
        "http://127.0.0.1:8000/mcp?api-version=2024-10-21",
        "sh -c 'TOKEN=https://h/x exec srv [a: b]' '[a, b]'",
        """srv --config '["https://h/x", {"auth_url": "https://h/x", "a": [1, null]}]'""",
        "",
    ],
)
def test_what_is_no_key_stays_as_it_is(command):
    assert without_secret_words(command) == command


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("srv --partition-key customer_region", "customer_region"),
        ("srv --group-key=customer_region", "customer_region"),
        ("srv --sort-key order_date_2024", "order_date_2024"),
        ("srv --credentials service-account-2.json", "service-account-2.json"),
        (
            f"""srv --headers '{{"Accept": "text/html; charset=utf-8", "Authorization": "Bearer {KEY}"}}'""",
            "charset=utf-8",
        ),
        (f"sh -c 'API_TOKEN={KEY} exec npx -y @acme/server2-files /home/anna/project1'", "/home/anna/project1"),
        (f"sh -c 'API_TOKEN={KEY} exec npx -y @acme/server2-files /home/anna/project1'", "@acme/server2-files"),
        ("srv --auth application-default", "application-default"),
        ("srv --auth-provider google-workspace1", "google-workspace1"),
        ("srv --api-key-env OPENAI_API_KEY", "OPENAI_API_KEY"),
        ("srv --api-key '${OPENAI_API_KEY2}'", "OPENAI_API_KEY2"),
        ("srv --credentials service-account.json", "service-account.json"),
        ("srv --token-path local1/token", "local1/token"),
        ("srv --no-auth my-data-folder1", "my-data-folder1"),
        ("srv --monkey bananas-and-more", "bananas-and-more"),
        ("http://h/?primary_key=customer_region&code=documentation", "customer_region"),
        ("http://h/?primary_key=customer_region&code=documentation", "documentation"),
        ("http://h/?workspace=customer_region", "customer_region"),
    ],
)
def test_a_word_that_is_no_key_stays_in_what_is_said(command, word):
    pytest.importorskip("mcp")
    from smol_kernel.tools.mcp_servers import read_specs

    first, *args = [command] if "://" in command else shlex.split(command)
    read_specs({"command": first, "args": args} if args else command)
    assert redacted(f"it is {word}, so") == f"it is {word}, so"


def test_the_keys_of_servers_are_taken_out_of_what_is_said():
    pytest.importorskip("mcp")
    from smol_kernel.tools.mcp_servers import read_specs

    given = {
        "token-of-3-horses": {"command": "npx", "args": ["--token", "token-of-3-horses", "srv"]},
        "Tr0ub4dor-and-3-horses": "https://alice:Tr0ub4dor-and-3-horses@mcp.example.org/mcp",
        "p@ss-and-3-horses": "https://alice:p%40ss-and-3-horses@mcp.example.org/mcp",
        "sig+and/3+horses": "https://mcp.example.org/mcp?sig=sig%2Band%2F3%2Bhorses",
    }
    for key, server in given.items():
        [spec] = read_specs(server)
        assert "horses" not in spec.label
        assert redacted(f"it is {key}, so") == f"it is {INSTEAD}, so"
    assert spec.label == "https://mcp.example.org/mcp"


def test_a_key_of_a_server_is_recorded_nowhere(tmp_path, capsys):
    pytest.importorskip("mcp")
    command = f"{MCP_SERVER} --token {KEY} --pin-password short1"
    with ModelServer(Text("It is so.\n<code>\nfinal_answer(1)\n</code>")) as server:
        assert main(["run", "the task", "-m", "openai/double", "--api-base", server.url, "--mcp", command]) == 0
        for form in ("json", "ipynb", "html"):
            assert main(["export", "last", "--to", f"run.{form}"]) == 0
        capsys.readouterr()
        assert main(["fork", "last", "-m", "openai/double", "--api-base", server.url]) == 2
    said = capsys.readouterr().err
    started = next(iter(Journal().events(Journal().find("last").run)))
    assert started.origin["mcp"] == [f"{MCP_SERVER} --token … --pin-password …"]
    assert "stdio --token … --pin-password …" in said
    for key in (KEY, "short1"):
        assert key not in said
        assert not is_written(key, tmp_path)


@pytest.mark.parametrize("key", [KEY, "short1"])
@pytest.mark.parametrize("kind", ["openai", "azure"])
def test_a_key_in_the_address_of_a_model_is_recorded_nowhere(tmp_path, key, kind):
    with ModelServer(*[Status(500)] * 8) as server:
        if kind == "azure":
            address = f"{server.url.removesuffix('/v1')}/?sig={key}"
            model = AzureOpenAIModel("x", azure_endpoint=address, api_key="none", api_version="1", retry=False)
        else:
            address = f"{server.url}?subscription-key={key}"
            model = LiteLLMModel("openai/x", api_base=address, retry=False)
        with (
            CodeAgent(tools=[], model=model, verbosity_level=0) as agent,
            pytest.raises(AgentGenerationError) as caught,
        ):
            agent.run("the task")
        assert server.requests
    assert key not in str(caught.value)
    assert not is_written(key, tmp_path)
    started = next(iter(Journal().events(Journal().find("last").run)))
    assert started.server == address.replace(key, "…")
    if len(key) > 12:
        assert redacted(f"it is {key}, so") == f"it is {INSTEAD}, so"
    if kind == "openai":
        assert model_to_go_on(started, None, None, usual=("openai/x", address)).api_base == address
        with pytest.raises(ConfigError, match="give this address again"):
            model_to_go_on(started, None, None)


def test_an_address_is_shown_without_the_values_of_its_keys():
    shown = "'http://h/v1?sig=…&api-version=2024-10-21' failed, as did http://h/?code=…#part and ws://h?auth_token=…"
    given = shown.replace("http://h/v1", "http://ada:secret@h/v1").replace("…", KEY)
    assert without_password(given) == shown
    assert without_password(shown) == shown
    assert without_password("is it? a=1&b=2, key=3") == "is it? a=1&b=2, key=3"


def test_a_key_in_an_address_of_the_environment_is_known(monkeypatch):
    monkeypatch.setenv("SOME_ENDPOINT", f"https://example.org/v1?api-version=2024-10-21-preview&sig={KEY}7")
    assert redacted(f"{KEY}7 and 2024-10-21-preview") == f"{INSTEAD} and 2024-10-21-preview"
