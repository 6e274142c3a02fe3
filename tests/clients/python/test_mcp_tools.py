"""The tools for agents under test, asked by the official client over both transports."""

import asyncio
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.client.stdio import stdio_client

PROGRAM = str(Path(__file__).with_name("mcp_tools.py"))
# With the handshake of older clients, and without.
MODES = ("legacy", "auto")


@contextmanager
def stdio():
    yield lambda: stdio_client(StdioServerParameters(command=sys.executable, args=[PROGRAM]))


@contextmanager
def http():
    command = [sys.executable, PROGRAM, "--http", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        try:
            yield lambda: url
        finally:
            process.kill()


@pytest.fixture(scope="module", params=[stdio, http], ids=lambda transport: transport.__name__)
def server(request):
    with request.param() as connect:
        yield connect


@pytest.fixture(params=MODES)
def play(server, request):
    """Plays a coroutine that is given a connected client."""

    def run(scene):
        async def connected():
            async with Client(server(), mode=request.param) as client:
                return await scene(client)

        return asyncio.run(asyncio.wait_for(connected(), 30))

    return run


def test_tools_are_listed_and_answer(play):
    async def scene(client):
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(listed) == {"add", "lookup", "fail", "slow", "secret", "picture"}
        assert set(listed["add"].input_schema["required"]) == {"a", "b"}

        assert (await client.call_tool("add", {"a": 2, "b": 3})).content[0].text == "5.0"
        found = await client.call_tool("lookup", {"key": "größte Stadt"})
        assert found.content[0].text == "Zürich"
        (image,) = (await client.call_tool("picture", {})).content
        assert (image.type, image.mime_type) == ("image", "image/png")

        failed = await client.call_tool("fail", {"message": "out of paper"})
        assert failed.is_error and "out of paper" in failed.content[0].text
        for name, arguments in [("lookup", {"key": "nothing"}), ("add", {"a": "two", "b": 3})]:
            assert (await client.call_tool(name, arguments)).is_error

    play(scene)


def test_slow_tools_run_side_by_side(play):
    async def twice(client):
        begin = time.monotonic()
        await asyncio.gather(*(client.call_tool("slow", {"seconds": 0.5}) for _ in range(4)))
        return time.monotonic() - begin

    assert 0.5 <= play(twice) < 1.5
