"""The workers in examples/, as processes of their own, at one instance; their
tasks are submitted to and watched at the other."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from throughline.v1.event_pb2 import EventType
from throughline.v1.message_pb2 import MESSAGE_STATE_CANCELLED, MESSAGE_STATE_COMPLETED
from throughline.v1.message_service_pb2 import (
    GetMessageRequest,
    RequestCancelRequest,
    WatchMessageRequest,
)
from throughline.v1.session_service_pb2 import CreateSessionRequest
from throughline.v1.task_pb2 import TASK_STATUS_CANCELLED, TASK_STATUS_COMPLETED
from throughline.v1.task_service_pb2 import SubmitTaskRequest

EXAMPLES = Path(__file__).parents[3] / "examples"
COMMANDS = {
    "python": [sys.executable, EXAMPLES / "worker.py"],
    "typescript": ["node", os.environ.get("THROUGHLINE_WORKER_JS", "worker.js")],
}
GRACE_S = 60


@pytest.fixture(params=COMMANDS)
def worker(request):
    process = subprocess.Popen([*COMMANDS[request.param], os.environ["THROUGHLINE_A"]])
    yield process
    process.kill()
    process.wait()


def submit(service, text):
    session = service.CreateSession(CreateSessionRequest(user_id="user_123")).session
    request = SubmitTaskRequest(session_id=session.session_id, task_description=text)
    return service.SubmitTask(request).task.message_id


def watch(service, message_id):
    request = WatchMessageRequest(message_id=message_id, cursor="0")
    for response in service.WatchMessage(request, timeout=30):
        if response.WhichOneof("frame") == "event":
            yield response.event


def test_a_submitted_task_is_answered_by_a_stream_of_text(service, worker):
    message_id = submit(service, "Once upon a time in Zürich")

    deltas = [event.text_delta.delta for event in watch(service, message_id) if event.HasField("text_delta")]
    assert deltas == ["Once ", "upon ", "a ", "time ", "in ", "Zürich "]
    message = service.GetMessage(GetMessageRequest(message_id=message_id)).message
    assert message.text == "".join(deltas)
    assert message.state == MESSAGE_STATE_COMPLETED
    assert [task.status for task in message.tasks] == [TASK_STATUS_COMPLETED]


def test_a_worker_that_is_asked_to_cancel_stops_and_says_so(service, worker):
    message_id = submit(service, "word " * 2_000)

    events = watch(service, message_id)
    next(event for event in events if event.HasField("text_delta"))
    begin = time.monotonic()
    grace = Duration(seconds=GRACE_S)
    service.RequestCancel(RequestCancelRequest(message_id=message_id, grace=grace))
    last = [EventType.Name(event.event_type) for event in events][-2:]
    assert time.monotonic() - begin < GRACE_S / 2
    assert last == ["EVENT_TYPE_TASK_CANCELLED", "EVENT_TYPE_MESSAGE_END"]
    message = service.GetMessage(GetMessageRequest(message_id=message_id)).message
    assert message.state == MESSAGE_STATE_CANCELLED
    assert [task.status for task in message.tasks] == [TASK_STATUS_CANCELLED]
