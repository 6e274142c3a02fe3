"""The three things the service is for, each call to the other instance than the
one before: a conversation, a task in the background, a viewer."""

import uuid

from throughline.v1.content_pb2 import (
    BLOCK_STATE_PLACEHOLDER,
    BLOCK_STATE_SEALED,
    CONTENT_TYPE_IMAGE,
    ContentBlock,
    ImageContent,
)
from throughline.v1.event_pb2 import EventType
from throughline.v1.message_pb2 import MESSAGE_STATE_COMPLETED, ROLE_ASSISTANT
from throughline.v1.message_service_pb2 import (
    AppendTextRequest,
    CreateMessageRequest,
    EndMessageRequest,
    GetMessageRequest,
    ListEventsRequest,
    WatchMessageRequest,
    WriteMessageRequest,
)
from throughline.v1.task_pb2 import (
    TASK_STATUS_COMPLETED,
    TASK_STATUS_FAILED,
    TASK_STATUS_PENDING,
    TASK_STATUS_PROCESSING,
)
from throughline.v1.task_service_pb2 import GetTaskRequest, StartTaskRequest, UpdateTaskRequest
from throughline.v1.watch_pb2 import WATCH_END_REASON_MESSAGE_ENDED

CHUNKS = ["Once", " upon a time", " in Zürich", " 🌍", "."]
PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(range(256))
STREAM_TIMEOUT_S = 30


def append(service, message_id, delta):
    """Appends in a way that the channel may retry."""
    request = AppendTextRequest(message_id=message_id, delta=delta, request_id=str(uuid.uuid4()))
    return service.AppendText(request)


def end(service, message_id):
    return service.EndMessage(EndMessageRequest(message_id=message_id))


def get(service, message_id):
    return service.GetMessage(GetMessageRequest(message_id=message_id)).message


def type_names(events):
    return [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in events]


def event_types(service, message_id):
    return type_names(service.ListEvents(ListEventsRequest(message_id=message_id)).events)


# A simple conversation.


def test_what_a_model_yields_becomes_one_text(service, message_id):
    acks = [append(service, message_id, chunk) for chunk in CHUNKS]
    ended = end(service, message_id)

    # The first chunk opens a block as well: CONTENT_ADDED, then TEXT_DELTA.
    sequences = [ack.result.sequence for ack in acks] + [ended.result.sequence]
    assert sequences == [3, 4, 5, 6, 7, 8]
    message = get(service, message_id)
    assert message.text == "".join(CHUNKS)
    assert message.state == MESSAGE_STATE_COMPLETED
    assert message.cursor == ended.result.cursor


def test_a_message_that_exists_is_got_rather_than_created(service, message_id):
    append(service, message_id, "Once")
    session_id = get(service, message_id).session_id

    got = service.CreateMessage(
        CreateMessageRequest(session_id=session_id, message_id=message_id, role=ROLE_ASSISTANT)
    )

    assert not got.created
    assert got.message.text == "Once"


def test_an_append_sent_twice_is_made_once(service, message_id):
    request = AppendTextRequest(message_id=message_id, delta="Once", request_id="chunk-1")
    first = service.AppendText(request)
    second = service.AppendText(request)

    assert (first.result.deduplicated, second.result.deduplicated) == (False, True)
    assert first.result.cursor == second.result.cursor
    assert get(service, message_id).text == "Once"


def test_writes_in_one_stream_are_answered_one_by_one(service, message_id):
    writes = [
        WriteMessageRequest(append_text=AppendTextRequest(message_id=message_id, delta=chunk))
        for chunk in CHUNKS
    ]
    writes.append(WriteMessageRequest(end_message=EndMessageRequest(message_id=message_id)))

    answers = list(service.WriteMessage(iter(writes), timeout=STREAM_TIMEOUT_S))

    acks = [answer.ack for answer in answers if answer.HasField("ack")]
    assert [ack.index for ack in acks] == list(range(len(writes)))
    assert [ack.result.sequence for ack in acks] == [3, 4, 5, 6, 7, 8]
    message = get(service, message_id)
    assert message.text == "".join(CHUNKS)
    assert message.state == MESSAGE_STATE_COMPLETED


# A task in the background.


def start_task(service, message_id):
    """Starts a task and returns its id, which is all that a worker is told
    beside the message's."""
    request = StartTaskRequest(
        message_id=message_id,
        task_type="image_generation",
        params={"prompt": "a lighthouse at dusk"},
        placeholder=ContentBlock(content_type=CONTENT_TYPE_IMAGE),
        request_id=str(uuid.uuid4()),
    )
    return service.StartTask(request).task.task_id


def work(service, message_id, task_id, draw):
    """A worker: loads the message by its id and has `draw` make the picture."""

    def update(**fields):
        service.UpdateTask(UpdateTaskRequest(message_id=message_id, task_id=task_id, **fields))

    (task,) = [task for task in get(service, message_id).tasks if task.task_id == task_id]
    update(status=TASK_STATUS_PROCESSING, progress=0.5)
    try:
        image = draw(task.params["prompt"])
    except RuntimeError as error:
        update(status=TASK_STATUS_FAILED, error=str(error))
    else:
        content = ContentBlock(image=image)
        update(status=TASK_STATUS_COMPLETED, progress=1.0, content=content)


def test_the_result_of_a_task_takes_the_place_of_its_placeholder(service, message_id):
    append(service, message_id, "Here it is: ")
    task_id = start_task(service, message_id)
    append(service, message_id, "Do you like it?")

    before = get(service, message_id)
    placeholder = before.blocks[1]
    assert placeholder.state == BLOCK_STATE_PLACEHOLDER
    assert placeholder.content_type == CONTENT_TYPE_IMAGE
    assert placeholder.task_id == task_id
    assert before.tasks[0].status == TASK_STATUS_PENDING

    def draw(prompt):
        return ImageContent(data=PNG, media_type="image/png", caption=prompt, width=16, height=16)

    work(service, message_id, task_id, draw)

    after = get(service, message_id)
    assert [block.block_id for block in after.blocks] == [b.block_id for b in before.blocks]
    block = after.blocks[1]
    assert block.state == BLOCK_STATE_SEALED
    assert block.image.data == PNG
    assert block.image.caption == "a lighthouse at dusk"
    assert block.image.size == len(PNG)
    assert after.text == "Here it is: Do you like it?"
    assert (after.tasks[0].status, after.tasks[0].progress) == (TASK_STATUS_COMPLETED, 1.0)
    types = event_types(service, message_id)
    assert types[-3:] == ["TASK_PROGRESS", "CONTENT_UPDATED", "TASK_COMPLETED"]


def test_an_exception_in_a_worker_is_what_the_task_fails_with(service, message_id):
    task_id = start_task(service, message_id)

    def draw(prompt):
        raise RuntimeError(f"no paint left for {prompt}")

    work(service, message_id, task_id, draw)

    task = service.GetTask(GetTaskRequest(message_id=message_id, task_id=task_id)).task
    assert task.status == TASK_STATUS_FAILED
    assert task.error == "no paint left for a lighthouse at dusk"
    (block,) = get(service, message_id).blocks
    assert block.state == BLOCK_STATE_SEALED
    assert block.WhichOneof("content") is None
    assert block.error == task.error
    assert event_types(service, message_id)[-1] == "TASK_FAILED"


# A viewer.


def watch(service, message_id, cursor):
    request = WatchMessageRequest(message_id=message_id, cursor=cursor)
    return service.WatchMessage(request, timeout=STREAM_TIMEOUT_S)


def take_until(frames, condition):
    """The next frames up to and including the one that `condition` holds for."""
    taken = []
    for frame in frames:
        taken.append(frame)
        if condition(frame):
            return taken
    raise AssertionError(f"the watch ended first: {taken}")


def test_a_viewer_gets_every_event_though_its_stream_is_cut_in_the_middle(service, message_id):
    def is_delta(text):
        return lambda frame: frame.event.text_delta.delta == text

    stream = watch(service, message_id, "0")
    seen = take_until(stream, lambda frame: frame.HasField("caught_up"))
    for chunk in CHUNKS[:2]:
        append(service, message_id, chunk)
        seen += take_until(stream, is_delta(chunk))
    stream.cancel()

    # Four calls lie between the two watches, which so go to different instances.
    append(service, message_id, CHUNKS[2])
    append(service, message_id, CHUNKS[3])
    stream = watch(service, message_id, seen[-1].cursor)
    seen += take_until(stream, is_delta(CHUNKS[3]))
    append(service, message_id, CHUNKS[4])
    end(service, message_id)
    seen += list(stream)

    events = [frame.event for frame in seen if frame.HasField("event")]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert type_names(events) == [
        "MESSAGE_START",
        "CONTENT_ADDED",
        *["TEXT_DELTA"] * len(CHUNKS),
        "MESSAGE_END",
    ]
    assert "".join(event.text_delta.delta for event in events) == "".join(CHUNKS)
    assert seen[-1].end.reason == WATCH_END_REASON_MESSAGE_ENDED
    assert not any(frame.HasField("gap") or frame.HasField("snapshot") for frame in seen)


def test_a_viewer_who_comes_late_gets_the_same_events(service, message_id):
    for chunk in CHUNKS:
        append(service, message_id, chunk)
    task_id = start_task(service, message_id)
    work(service, message_id, task_id, lambda prompt: ImageContent(url="https://example.org/1.png"))
    end(service, message_id)

    events = [f.event for f in watch(service, message_id, "0") if f.HasField("event")]

    assert list(service.ListEvents(ListEventsRequest(message_id=message_id)).events) == events
