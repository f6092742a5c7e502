# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's protocol: records to lines and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_core.shared.errors import RequestError
from inference_core.shared.messages import (
    PROTOCOL_VERSION,
    CaptureRequest,
    Done,
    Failure,
    Hello,
    Message,
    Notice,
    ProtocolError,
    StageProgress,
    Status,
    decode_message,
    decode_request,
    encode_message,
    encode_request,
)

words = st.dictionaries(st.text(), st.text(), max_size=3)
messages = st.one_of(
    st.builds(
        Hello,
        version=st.text(),
        device=st.text(),
        devices=st.lists(st.text(), max_size=3).map(tuple),
        python=st.text(),
        versions=words,
        pid=st.integers(),
    ),
    st.builds(Status, st.text()),
    st.builds(StageProgress, st.text(), st.integers(0), st.integers(0)),
    st.builds(Notice, st.text()),
    st.builds(Failure, st.text(), st.text()),
    st.builds(Done, st.text(), st.none() | st.text()),
)
numbers = st.floats(-1e6, 1e6)
paths = st.text().filter(lambda text: "\0" not in text)
requests = st.builds(
    CaptureRequest,
    footage=paths,
    out=paths,
    preview=st.none() | paths,
    frames=st.text(),
    fps=st.none() | st.floats(1, 1000),
    fov_deg=st.none() | st.floats(1, 179),
    intrinsics_px=st.none() | st.tuples(numbers, numbers, numbers, numbers),
    hands=st.sampled_from(["both", "left", "right"]),
    device=st.sampled_from(["auto", "cpu", "cuda", "mps"]),
    smooth=st.floats(0, 1),
    resume=st.booleans(),
)


@given(messages)
def test_messages_survive_serialisation(message: Message) -> None:
    line = encode_message(message)
    assert line.isascii()
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert decode_message(line) == message


@given(requests)
def test_requests_survive_serialisation(request: CaptureRequest) -> None:
    assert decode_request(encode_request(request)) == request


@given(st.text() | st.recursive(st.none() | st.text(), lambda inner: st.lists(inner)).map(json.dumps))
def test_garbage_is_a_protocol_error(line: str) -> None:
    with pytest.raises(ProtocolError):
        decode_message(line)
    with pytest.raises(RequestError):
        decode_request(line)


@pytest.mark.parametrize(
    "line", ["[" * 200_000, '{"a":' * 200_000, '{"type": NaN}', '{"a": 1e999}', '{"a": ' + "1" * 9999]
)
def test_hostile_lines_are_refused_with_short_messages(line: str) -> None:
    for decode, error in ((decode_message, ProtocolError), (decode_request, RequestError)):
        with pytest.raises(error) as told:
            decode(line)
        assert len(str(told.value)) < 400


def test_fields_of_a_newer_worker_are_ignored() -> None:
    line = json.dumps({"type": "status", "text": "solving", "mood": "good"})
    assert decode_message(line) == Status("solving")


def test_a_message_without_its_field_is_named() -> None:
    with pytest.raises(ProtocolError, match="progress"):
        decode_message('{"type": "progress", "stage": "solve", "done": 3}')


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"protocol": PROTOCOL_VERSION + 1}, "protocol"),
        ({"hands": "three"}, "hands"),
        ({"smooth": "much"}, "smooth"),
        ({"colour": "red"}, "colour"),
        ({"footage": 7}, "footage"),
        ({"intrinsics_px": [1, 2]}, "intrinsics_px"),
        ({"intrinsics_px": [1, 2, 3, 1e300]}, "intrinsics_px"),
        ({"smooth": 10**400}, "smooth"),
        ({"smooth": 1.5}, "smooth"),
        ({"fps": -24}, "fps"),
        ({"fov_deg": 180}, "fov_deg"),
        ({"hands": [["both"]]}, "hands"),
        ({"out": "a\0.npz"}, "out"),
        ({"footage": "\ud800.mp4"}, "footage"),
    ],
)
def test_a_wrong_field_of_a_request_is_named(values: dict[str, object], named: str) -> None:
    line = json.loads(encode_request(CaptureRequest("a.mp4", "a.npz"))) | values
    with pytest.raises(RequestError, match=named):
        decode_request(json.dumps(line))


def test_a_request_without_footage_is_refused() -> None:
    line = json.loads(encode_request(CaptureRequest("a.mp4", "a.npz")))
    del line["footage"]
    with pytest.raises(RequestError, match="footage"):
        decode_request(json.dumps(line))
