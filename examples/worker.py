"""A worker: answers each submitted task by streaming its text back, word by word.

Needs grpcio and the modules that are generated from proto/, as the README says:

    python examples/worker.py localhost:50051
"""

import sys
import threading
import time
import uuid

import grpc
from google.protobuf.duration_pb2 import Duration
from throughline.v1.message_service_pb2 import AppendTextRequest
from throughline.v1.message_service_pb2_grpc import MessageServiceStub
from throughline.v1.task_pb2 import TASK_STATUS_CANCELLED, TASK_STATUS_COMPLETED, TASK_STATUS_FAILED
from throughline.v1.task_service_pb2 import (
    RENEWAL_STATUS_OK,
    ClaimTaskRequest,
    RenewTaskRequest,
    TaskRenewal,
    UpdateTaskRequest,
)
from throughline.v1.task_service_pb2_grpc import TaskServiceStub

LEASE_S = 15
NAME = f"worker-{uuid.uuid4()}"

channel = grpc.insecure_channel(sys.argv[1])
tasks, messages = TaskServiceStub(channel), MessageServiceStub(channel)


def beat(names, done, cancelled):
    """Renews the lease until the work is done, and hears whether to stop."""
    while not done.wait(LEASE_S / 3):
        renewal = RenewTaskRequest(worker_id=NAME, renewals=[TaskRenewal(**names)])
        try:
            if tasks.RenewTask(renewal).results[0].status != RENEWAL_STATUS_OK:
                return cancelled.set()
        except grpc.RpcError as error:
            # The next one may come through before the lease is lost.
            print(error.code(), error.details(), file=sys.stderr)


def answer(claimed, names, cancelled):
    """The work itself. True where it came to its end."""
    for number, word in enumerate(claimed.task.params["task_description"].split()):
        append = AppendTextRequest(
            message_id=claimed.task.message_id,
            delta=f"{word} ",
            lease=claimed.lease,
            request_id=f"{claimed.task.task_id}-{claimed.task.attempt}-{number}",
        )
        written = messages.AppendText(append)
        if written.result.cancel_requested or cancelled.wait(0.05):
            return False
    return True


def work(claimed):
    names = {key: getattr(claimed.task, key) for key in ("message_id", "task_id", "attempt")}
    done, cancelled = threading.Event(), threading.Event()
    threading.Thread(target=beat, args=(names, done, cancelled), daemon=True).start()
    try:
        is_whole = answer(claimed, names, cancelled)
        tasks.UpdateTask(UpdateTaskRequest(
            status=TASK_STATUS_COMPLETED if is_whole else TASK_STATUS_CANCELLED, **names))
    except (ValueError, grpc.RpcError) as error:
        failed = {"error": str(error)[:1000], "retryable": True}
        tasks.UpdateTask(UpdateTaskRequest(status=TASK_STATUS_FAILED, **failed, **names))
    finally:
        done.set()


while True:
    claim = {"lease": Duration(seconds=LEASE_S), "wait": Duration(seconds=30)}
    try:
        claimed = tasks.ClaimTask(ClaimTaskRequest(task_types=["simple"], worker_id=NAME, **claim))
        if claimed.HasField("task"):
            work(claimed)
    except grpc.RpcError as error:
        print(error.code(), error.details(), file=sys.stderr)
        time.sleep(1)
