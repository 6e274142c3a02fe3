"""What a client can read from a refusal."""

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status
from throughline.v1.message_service_pb2 import AppendTextRequest


def detail(error, kind):
    """The detail of that kind which the refusal carries."""
    for packed in rpc_status.from_call(error).details:
        message = kind()
        if packed.Unpack(message):
            return message
    raise AssertionError(f"no {kind.__name__} in {error}")


def test_a_refusal_names_the_field_and_the_reason(service, message_id):
    with pytest.raises(grpc.RpcError) as refusal:
        service.AppendText(AppendTextRequest(message_id=message_id, delta=""))

    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    fields = [each.field for each in detail(refusal.value, BadRequest).field_violations]
    assert fields == ["delta"]
    info = detail(refusal.value, ErrorInfo)
    assert info.domain == "throughline"
    assert info.reason == "INVALID_FIELD"
