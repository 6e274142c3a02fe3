"""Tools for agents under test, served by the official MCP package.

python mcp_tools.py             over stdio
python mcp_tools.py --http 0    over HTTP on any free port; prints the URL
"""

import argparse
import asyncio
import base64
import socket

import uvicorn
from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

FACTS = {"capital of France": "Paris", "height of the tower": "330 m", "größte Stadt": "Zürich"}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)

tools = MCPServer("test-tools", log_level="WARNING")


@tools.tool()
def add(a: float, b: float) -> float:
    """Adds two numbers."""
    return a + b


@tools.tool()
def lookup(key: str) -> str:
    """Looks up a fact."""
    if key not in FACTS:
        raise ToolError(f"nothing is known of {key}")
    return FACTS[key]


@tools.tool()
def fail(message: str) -> str:
    """Fails with this message."""
    raise ToolError(message)


@tools.tool()
async def slow(seconds: float) -> str:
    """Takes its time."""
    await asyncio.sleep(seconds)
    return f"done after {seconds:g} s"


@tools.tool()
def secret() -> str:
    """Is on the list of no agent under test: whoever gets this was not kept from it."""
    return "the secret"


@tools.tool()
def picture() -> Image:
    """Draws a red pixel."""
    return Image(data=PIXEL, format="png")


def serve_http(port):
    listener = socket.create_server(("127.0.0.1", port))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    config = uvicorn.Config(tools.streamable_http_app(), log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--http", type=int, metavar="PORT", help="0 takes any free port")
    arguments = parser.parse_args()
    if arguments.http is None:
        tools.run("stdio")
    else:
        serve_http(arguments.http)
