from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from kafka import errors
from pydantic import SecretStr

from pipeline.kafka_client import explain_refusal, list_settings
from pipeline.kafka_options import EmitterOptions, KafkaOptions, take_kafka_options


def test_pattern_fits_whole_names_and_none_of_our_outputs() -> None:
    pattern = KafkaOptions(topics=("re:gatecast.*|plant",)).pattern
    assert pattern is not None
    names = [
        "gatecast.readings",
        "gatecast.forecasts",
        "gatecast.alerts",
        "plant",
        "plant.rejected",
        "plants",
    ]
    assert [name for name in names if re.match(pattern, name)] == ["gatecast.readings", "plant"]
    assert KafkaOptions().pattern is None


@pytest.mark.parametrize(
    ("topics", "message"),
    [
        ((), "expected kafka.topics to be names, or one pattern behind 're:', but it is []"),
        (("re:a", "b"), "expected kafka.topics to be names, or one pattern"),
        (("re:(",), "expected a regular expression in kafka.topics, but missing )"),
        (
            ("gatecast.alerts",),
            "'gatecast.alerts' is one that this worker writes: it would read its own output",
        ),
        (("plant.rejected",), "'plant.rejected' is one that this worker writes"),
    ],
)
def test_topics_that_can_not_be_read(topics: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        KafkaOptions(topics=topics)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "xml"}, "expected forecasts.format to be json or arrow, but it is 'xml'"),
        ({"every": 0}, "expected forecasts.every and forecasts.steps to be 1 or more, but they are 0 and []"),
        ({"steps": (0, 1)}, "but they are 1 and [0, 1]"),
    ],
)
def test_emitter_options_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        EmitterOptions(**settings)  # type: ignore[arg-type]


def test_options_from_a_section() -> None:
    section = SimpleNamespace(
        bootstrap="a:1, b:2",
        topics=["plant"],
        sasl_password=SecretStr("secret"),
        api_version="2.3",
        unknown=1,
    )
    options = take_kafka_options(section)
    assert options == KafkaOptions(
        bootstrap=("a:1", "b:2"), topics=("plant",), sasl_password="secret", api_version="2.3"
    )
    assert list_settings(options)["api_version"] == (2, 3)
    assert options.servers == "a:1,b:2"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            errors.TopicAuthorizationFailedError({"plant"}),
            "k:9092 does not let this user at plant: grant it Describe and Read, for outputs Write",
        ),
        (
            errors.GroupAuthorizationFailedError("gatecast"),
            "k:9092 does not let this user into group 'gatecast': grant it Read on the group",
        ),
        (
            errors.FencedInstanceIdError(),
            "another worker has joined group 'gatecast' as instance 'w1': give each worker a "
            "kafka.instance_id of its own",
        ),
        (
            errors.InconsistentGroupProtocolError(),
            "group 'gatecast' has members that do not balance by cooperative-sticky: stop them, or "
            "choose another kafka.group",
        ),
        (
            errors.InvalidSessionTimeoutError(),
            "k:9092 does not allow kafka.session_timeout_ms = 45000: see group.min.session.timeout.ms and "
            "group.max.session.timeout.ms there",
        ),
        (errors.KafkaTimeoutError("slow"), None),
        (errors.KafkaConnectionError("gone"), None),
        (errors.CorruptRecordError("damaged"), None),
    ],
)
def test_errors_are_one_sentence(error: errors.KafkaError, sentence: str | None) -> None:
    assert explain_refusal(error, KafkaOptions(bootstrap=("k:9092",), instance_id="w1")) == sentence


def test_other_errors_keep_their_name() -> None:
    found = explain_refusal(errors.UnsupportedVersionError("old"), KafkaOptions())
    assert found is not None
    assert found.startswith("localhost:9092 answered UnsupportedVersionError: ")
