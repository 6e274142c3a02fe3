"""Agents end to end: a task is submitted to one instance, the worker is a process of its
own at a second, and a third is watched. The model says what a script says, and the tools
are those of two MCP servers, one over stdio and one over HTTP."""

import json
import os
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import pytest
from conftest import Instance
from throughline.v1.content_pb2 import ContentType
from throughline.v1.message_service_pb2 import GetMessageRequest, WatchMessageRequest
from throughline.v1.session_service_pb2 import CreateSessionRequest
from throughline.v1.task_pb2 import STOP_REASON_DONE, WORKFLOW_CRITIC, WORKFLOW_PLANNER
from throughline.v1.task_service_pb2 import SubmitTaskRequest

MCP_SERVER = str(Path(__file__).with_name("mcp_tools.py"))
ALLOWED = ["add", "lookup", "fail", "picture"]
KEY = "sk-of-the-tests"
STEP = {"description": "look", "subtasks": [{"description": "look it up"}]}
CALLS = [
    {"name": "pipe__add", "arguments": {"a": 1, "b": 2}},
    {"name": "web__lookup", "arguments": {"key": "capital of France"}},
    {"name": "web__secret", "arguments": {}},
]


def judgement(rating):
    return {"say": {"json": {"rating": rating, "feedback": "", "focus_areas": []}}}


# The first that fits decides.
RULES = [
    {"when": {"schema": "plan"}, "times": 1, "reply": {"say": {"json": {"steps": [STEP], "is_complete": False}}}},
    {"when": {"schema": "plan"}, "reply": {"say": {"json": {"steps": [], "is_complete": True}}}},
    {"when": {"schema": "judgement", "user": "a better draft"}, "reply": judgement("GOOD")},
    {"when": {"schema": "judgement"}, "reply": judgement("POOR")},
    {"when": {"user": "Your piece:", "last_role": "user"}, "reply": {"tool_calls": CALLS}},
    {"when": {"last_role": "tool"}, "reply": {"say": {"text": "what I found"}}},
    {"when": {"user": "was rated"}, "reply": {"say": {"text": "a better draft"}}},
    {"when": {"user": "worked on"}, "reply": {"say": {"tokens": ["The answer ", "is 3."]}, "token_delay_ms": 1_000}},
    {"when": {}, "reply": {"say": {"text": "a draft"}}},
]


@contextmanager
def running(*command):
    """A program that prints its address, the last word of its first line."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.kill()


@pytest.fixture
def model(tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"api_key": KEY, "rules": RULES}))
    with running(os.environ["THROUGHLINE_MODEL"], "--script", script) as url:
        yield url


def record(model):
    with urllib.request.urlopen(urljoin(model, "/record")) as answer:
        return json.load(answer)["exchanges"]


@pytest.fixture
def tools(tmp_path):
    file = tmp_path / "tools.json"
    with running(sys.executable, MCP_SERVER, "--http", "0") as url:
        pipe = {"command": sys.executable, "args": [MCP_SERVER], "allow": ALLOWED}
        web = {"url": url, "allow": ALLOWED}
        file.write_text(json.dumps({"mcpServers": {"pipe": pipe, "web": web}}))
        yield file


@pytest.fixture
def worker(model, tools, tmp_path):
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    command = [os.environ["THROUGHLINE"], "worker", "--server", f"http://{os.environ['THROUGHLINE_B']}"]
    command += ["--llm-url", model, "--llm-model", "m", "--llm-key-file", key, "--tools", tools]
    command += ["--queue", "agents", "--log-level", "debug"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    log = []
    reader = threading.Thread(target=lambda: log.extend(process.stderr))
    reader.start()
    yield process
    process.terminate()
    assert process.wait(20) == 0
    reader.join()
    assert log and KEY not in "".join(log)


def submit(workflow):
    a = Instance(os.environ["THROUGHLINE_A"])
    session = a.CreateSession(CreateSessionRequest(user_id="user_123")).session
    request = SubmitTaskRequest(
        session_id=session.session_id, task_description="What is 1 + 2?", workflow=workflow, queue="agents"
    )
    return a.SubmitTask(request).task.message_id


def watch(message_id):
    c = Instance(os.environ["THROUGHLINE_C"])
    request = WatchMessageRequest(message_id=message_id, cursor="0")
    for response in c.WatchMessage(request, timeout=30):
        if response.WhichOneof("frame") == "event":
            yield response.event


def get(message_id):
    c = Instance(os.environ["THROUGHLINE_C"])
    return c.GetMessage(GetMessageRequest(message_id=message_id)).message


def test_a_watcher_sees_plan_tools_results_and_answer_while_they_come(worker, model):
    message_id = submit(WORKFLOW_PLANNER)
    added, stages, answer = [], [], ""
    for event in watch(message_id):
        if event.HasField("content_added"):
            added.append(ContentType.Name(event.content_added.block.content_type))
        elif event.HasField("task_progress"):
            stages.append(event.task_progress.task.status_text)
        elif event.HasField("text_delta") and "synthesis" in stages:
            if not answer:
                # Seen while the model is still at its answer.
                assert record(model)[-1]["ended_us"] is None
            answer += event.text_delta.delta
    assert event.HasField("message_end")
    assert answer == "The answer is 3."
    calls, results = ["TOOL_CALL"] * 3, ["TOOL_RESULT"] * 3
    kinds = ["TEXT", "JSON", *calls, *results, "THINKING", "JSON"]
    assert [kind.removeprefix("CONTENT_TYPE_") for kind in added] == kinds
    seen = [stage for at, stage in enumerate(stages) if stage and stage not in stages[:at]]
    tools = "tool pipe__add, web__lookup, web__secret"
    assert seen == ["plan", "step 1/1", f"step 1/1, subtask 1: {tools}", "synthesis"]

    message = get(message_id)
    results = [block.tool_result for block in message.blocks if block.HasField("tool_result")]
    said = {result.text: result.is_error for result in results}
    assert said == {"3.0": False, "Paris": False, "there is no tool `web__secret`": True}
    outcome = message.tasks[0].outcome
    assert (outcome.stop_reason, outcome.usage.model_calls, outcome.usage.tool_calls) == (STOP_REASON_DONE, 5, 3)


def test_a_watcher_sees_every_draft_and_its_judgement(worker, model):
    message_id = submit(WORKFLOW_CRITIC)
    stages = []
    for event in watch(message_id):
        if event.HasField("content_added") and event.content_added.block.metadata:
            stages.append(event.content_added.block.metadata["stage"])
    assert stages == ["draft 1", "judge 1", "draft 2", "judge 2"]
    assert get(message_id).text == "a better draft"
    assert len(record(model)) == 4
