"""Two instances of the service on one Redis, and what the tests share."""

import itertools
import os
import uuid
from pathlib import Path

import grpc
import pytest
from throughline.v1.message_pb2 import ROLE_ASSISTANT
from throughline.v1.message_service_pb2 import CreateMessageRequest
from throughline.v1.message_service_pb2_grpc import MessageServiceStub
from throughline.v1.session_service_pb2 import CreateSessionRequest
from throughline.v1.session_service_pb2_grpc import SessionServiceStub
from throughline.v1.task_service_pb2_grpc import TaskServiceStub

SERVICE_CONFIG = Path(__file__).parents[3] / "docs" / "service_config.json"


class Instance:
    """One instance of the service: every RPC of it, by its name."""

    def __init__(self, address):
        config = SERVICE_CONFIG.read_text()
        channel = grpc.insecure_channel(address, [("grpc.service_config", config)])
        services = (SessionServiceStub, MessageServiceStub, TaskServiceStub)
        self._rpcs = {name: rpc for stub in services for name, rpc in vars(stub(channel)).items()}

    def __getattr__(self, name):
        return self._rpcs[name]


class InTurn:
    """Sends each call to the other instance than the one before."""

    def __init__(self, instances):
        self._turns = itertools.cycle(instances)

    def __getattr__(self, name):
        return getattr(next(self._turns), name)


@pytest.fixture(scope="session")
def service():
    return InTurn([Instance(os.environ[name]) for name in ("THROUGHLINE_A", "THROUGHLINE_B")])


@pytest.fixture
def message_id(service):
    """An empty message of the assistant, in a session of its own."""
    session = service.CreateSession(CreateSessionRequest(user_id="user_123")).session
    request = CreateMessageRequest(
        session_id=session.session_id, message_id=str(uuid.uuid4()), role=ROLE_ASSISTANT
    )
    return service.CreateMessage(request).message.message_id
