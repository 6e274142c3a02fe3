"""The official openai client works against the scripted model, so that the model is
a fair one: what it serves is what agents meet elsewhere."""

import json
import os
import subprocess
import urllib.request
from contextlib import contextmanager

import openai
import pytest
from pydantic import BaseModel

KEY = "the key"
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"key": {"type": "string"}}},
    },
}


class Verdict(BaseModel):
    rating: str
    focus: list[str]


@pytest.fixture
def model(tmp_path):
    """Starts the model with these rules; gives a client of it."""

    @contextmanager
    def start(*rules, **options):
        script = tmp_path / "script.json"
        script.write_text(json.dumps({"api_key": KEY, "rules": rules}))
        command = [os.environ["THROUGHLINE_MODEL"], "--script", script]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            url = process.stdout.readline().split()[-1]
            try:
                options = {"api_key": KEY, "max_retries": 0, "timeout": 10} | options
                yield openai.OpenAI(base_url=url, **options)
            finally:
                process.kill()

    return start


def ask(client, text="Hello, big world", **arguments):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="m", messages=messages, **arguments)


def record(client):
    url = client.base_url.copy_with(path="/record")
    with urllib.request.urlopen(str(url)) as answer:
        return json.load(answer)["exchanges"]


def test_an_answer(model):
    with model() as client:
        answer = ask(client)
        assert answer.choices[0].message.content == "Hello, big world"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.total_tokens == 6
        assert [listed.id for listed in client.models.list()] == ["throughline-model"]


def test_a_stream(model):
    with model() as client:
        chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
        deltas = [choice.delta.content for chunk in chunks for choice in chunk.choices]
        assert [delta for delta in deltas if delta] == ["Hello,", " big", " world"]
        assert chunks[-1].usage.completion_tokens == 3
        (exchange,) = record(client)
        assert exchange["tokens"] == 3 and exchange["body"]["stream"]


def test_tool_calls_and_their_results(model):
    call = {"name": "look", "arguments": {"key": "größte Stadt"}}
    rules = [{"times": 1, "reply": {"tool_calls": [call]}}, {"reply": {"say": {"text": "Zürich"}}}]
    with model(*rules) as client:
        messages = [{"role": "user", "content": "Which?"}]
        helper = client.chat.completions.stream(model="m", messages=messages, tools=[LOOK])
        with helper as stream:
            message = stream.get_final_completion().choices[0].message
        (asked,) = message.tool_calls
        assert json.loads(asked.function.arguments) == call["arguments"]
        result = {"role": "tool", "tool_call_id": asked.id, "content": "Zürich"}
        messages += [message.to_dict(), result]
        answer = client.chat.completions.create(model="m", messages=messages, tools=[LOOK])
        assert answer.choices[0].message.content == "Zürich"


def test_structured_output(model):
    verdict = {"rating": "GOOD", "focus": ["tone"]}
    rule = {"when": {"schema": "Verdict"}, "reply": {"say": {"json": verdict}}}
    with model(rule) as client:
        messages = [{"role": "user", "content": "Judge."}]
        answer = client.chat.completions.parse(
            model="m", messages=messages, response_format=Verdict
        )
        assert answer.choices[0].message.parsed == Verdict(**verdict)


@pytest.mark.parametrize(
    "fault, error",
    [
        ({"status": {"code": 429, "retry_after": "7"}}, openai.RateLimitError),
        ({"status": {"code": 500}}, openai.InternalServerError),
        ({"cut": {"after_tokens": 1}}, openai.APIConnectionError),
        ("silence", openai.APITimeoutError),
    ],
)
def test_faults_are_the_errors_that_they_are_elsewhere(model, fault, error):
    with model({"reply": {"fault": fault}}, timeout=1) as client:
        with pytest.raises(error) as raised:
            ask(client)
        if error is openai.RateLimitError:
            assert raised.value.response.headers["retry-after"] == "7"


def test_errors_in_a_stream_are_raised(model):
    with model({"reply": {"fault": {"error": {"after_tokens": 1, "message": "overloaded"}}}}) as client:
        with pytest.raises(openai.APIError, match="overloaded"):
            list(ask(client, stream=True))


def test_what_openai_refuses_is_refused(model):
    with model() as client:
        with pytest.raises(openai.BadRequestError, match="only allowed when 'stream'"):
            ask(client, stream_options={"include_usage": True})
        with pytest.raises(openai.AuthenticationError):
            ask(client.with_options(api_key="another"))
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="m", input="x")


def test_the_client_retries_as_it_is_told(model):
    once = {"times": 1, "reply": {"fault": {"status": {"code": 429, "retry_after": "0.2"}}}}
    with model(once, {"reply": {"say": "echo"}}, max_retries=1) as client:
        assert ask(client, "Hi").choices[0].message.content == "Hi"
        first, second = record(client)
        assert second["arrived_us"] - first["ended_us"] >= 150_000
