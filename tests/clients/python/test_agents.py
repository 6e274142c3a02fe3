"""Agents end to end: a task is submitted to one instance, the worker is a process of its
own at a second, and a third is watched. The model says what the test wants."""

import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import Instance
from throughline.v1.content_pb2 import ContentType
from throughline.v1.message_service_pb2 import GetMessageRequest, WatchMessageRequest
from throughline.v1.session_service_pb2 import CreateSessionRequest
from throughline.v1.task_pb2 import STOP_REASON_DONE, WORKFLOW_CRITIC, WORKFLOW_PLANNER
from throughline.v1.task_service_pb2 import SubmitTaskRequest

MCP_SERVER = Path(__file__).parents[2] / "it" / "worker" / "mcp.sh"
KEY = "sk-of-the-tests"
PLAN = {"steps": [{"description": "look", "subtasks": [{"description": "sum"}]}], "is_complete": False}


class Model:
    """An OpenAI-compatible endpoint. `go_on` is waited for after the answer's first word."""

    def __init__(self):
        self.asked, self.go_on = [], threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                assert self.headers["authorization"] == f"Bearer {KEY}"
                outer.asked.append(body)
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                outer.answer(body, self.send)
                self.wfile.write(b"data: [DONE]\n\n")

            def send(self, delta, finish_reason=None):
                choice = {"delta": delta, "finish_reason": finish_reason}
                self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
                self.wfile.flush()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, body, send):
        shape = body.get("response_format", {}).get("json_schema", {}).get("name")
        last = body["messages"][-1]
        if shape == "plan":
            is_first = "Nothing yet." in last["content"]
            send({"content": json.dumps(PLAN if is_first else {"steps": [], "is_complete": True})})
        elif shape == "judgement":
            rating = "GOOD" if "a better draft" in last["content"] else "POOR"
            send({"content": json.dumps({"rating": rating, "feedback": "", "focus_areas": []})})
        elif "Your piece:" in (last["content"] or "") and last["role"] == "user":
            call = {"name": "desk__add", "arguments": '{"a": 1, "b": 2}'}
            return send({"tool_calls": [{"index": 0, "id": "c", "function": call}]}, "tool_calls")
        elif "was rated" in last["content"]:
            send({"content": "a better draft"})
        elif last["content"].startswith("The request has been worked on"):
            send({"content": "The answer "})
            assert self.go_on.wait(20)
            send({"content": "is 3."})
        else:
            send({"content": "what I found"})
        send({}, "stop")


@pytest.fixture
def model():
    model = Model()
    yield model
    model.go_on.set()
    model.server.shutdown()


@pytest.fixture
def worker(model, tmp_path):
    tools, key = tmp_path / "tools.json", tmp_path / "key"
    server = {"command": "sh", "args": [str(MCP_SERVER)], "allow": ["add"]}
    tools.write_text(json.dumps({"mcpServers": {"desk": server}}))
    key.write_text(KEY + "\n")
    process = subprocess.Popen([
        os.environ["THROUGHLINE"], "worker", "--server", f"http://{os.environ['THROUGHLINE_B']}",
        "--llm-url", model.url, "--llm-model", "m", "--llm-key-file", key, "--tools", tools,
        "--queue", "agents", "--log-level", "debug",
    ], stderr=subprocess.PIPE, text=True)  # fmt: skip
    log = []
    threading.Thread(target=lambda: log.extend(process.stderr), daemon=True).start()
    yield process
    process.terminate()
    assert process.wait(20) == 0
    assert KEY not in "".join(log)


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


def test_a_watcher_sees_plan_tools_results_and_answer_while_they_come(worker, model):
    message_id = submit(WORKFLOW_PLANNER)
    added, stages, answer = [], [], ""
    for event in watch(message_id):
        if event.HasField("content_added"):
            added.append(ContentType.Name(event.content_added.block.content_type))
        elif event.HasField("task_progress"):
            stages.append(event.task_progress.task.status_text)
        elif event.HasField("text_delta") and model.asked[-1]["messages"][-1]["content"].startswith("The request"):
            answer += event.text_delta.delta
            # The model goes on once its first word was seen.
            model.go_on.set()
        last = event
    assert answer == "The answer is 3."
    kinds = ["TEXT", "JSON", "TOOL_CALL", "TOOL_RESULT", "THINKING", "JSON"]
    assert [kind.removeprefix("CONTENT_TYPE_") for kind in added] == kinds
    seen = [stage for at, stage in enumerate(stages) if stage and stage not in stages[:at]]
    assert seen == ["plan", "step 1/1", "step 1/1, subtask 1: tool desk__add", "synthesis"]
    assert last.HasField("message_end")
    message = Instance(os.environ["THROUGHLINE_C"]).GetMessage(GetMessageRequest(message_id=message_id)).message
    outcome = message.tasks[0].outcome
    assert (outcome.stop_reason, outcome.usage.model_calls, outcome.usage.tool_calls) == (STOP_REASON_DONE, 5, 1)


def test_a_watcher_sees_every_draft_and_its_judgement(worker, model):
    message_id = submit(WORKFLOW_CRITIC)
    stages = []
    for event in watch(message_id):
        if event.HasField("content_added") and event.content_added.block.metadata:
            stages.append(event.content_added.block.metadata["stage"])
    assert stages == ["draft 1", "judge 1", "draft 2", "judge 2"]
    message = Instance(os.environ["THROUGHLINE_C"]).GetMessage(GetMessageRequest(message_id=message_id)).message
    assert message.text == "a better draft"
    assert len(model.asked) == 4
