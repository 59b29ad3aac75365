"""An MCP server without the SDK, for the tests: `python odd_mcp_server.py TOOLS [ERROR]`, both as JSON, over stdio.

Its tools are called `say`, or as it is told: what they are given comes back as text, but an argument `line` is itself
the line that answers, with ID for the request's id. With ERROR it answers everything with that.
"""

import json
import sys

tools = json.loads(sys.argv[1])
error = json.loads(sys.argv[2]) if len(sys.argv) > 2 else None


def send(number, **said):
    print(json.dumps({"jsonrpc": "2.0", "id": number, **said}), flush=True)


for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    number, params = request["id"], request.get("params") or {}
    arguments = params.get("arguments") or {}
    if error:
        send(number, error=error)
    elif request["method"] == "initialize":
        about = {"name": "odd", "version": "1"}
        version = params["protocolVersion"]
        send(number, result={"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about})
    elif request["method"] == "tools/list":
        send(number, result={"tools": tools})
    elif request["method"] != "tools/call":
        send(number, error={"code": -32601, "message": "no such method"})
    elif "line" in arguments:
        print(arguments["line"].replace("ID", json.dumps(number)), flush=True)
    else:
        send(number, result={"content": [{"type": "text", "text": json.dumps(arguments)}]})
