"""Client settings from the command line, and lengths of time."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.clients import SettingError, parse_client_settings
from pipeline.durations import format_duration, parse_duration_ms


def test_settings_become_what_they_look_like(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("se=cret\nrest\n")
    pairs = (
        "api_version=2.3", "ssl_check_hostname=false", "request_timeout_ms=500", "client_id=x=y",
        f"sasl_plain_password=@{tmp_path / 'password'}",
    )  # fmt: skip
    assert parse_client_settings(pairs) == {
        "api_version": (2, 3),
        "ssl_check_hostname": False,
        "request_timeout_ms": 500,
        "client_id": "x=y",
        "sasl_plain_password": "se=cret",
    }


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (
            "security_protocol",
            "expected KEY=VALUE, such as security_protocol=SSL, but got 'security_protocol'",
        ),
        ("a b=1", "expected KEY=VALUE"),
        ("api_version=new", "expected api_version such as 2.3, but got 'new'"),
        ("sasl_plain_password=@missing", "sasl_plain_password: expected a readable text file 'missing'"),
        ("sasl_plain_password=@EMPTY", "expected a value in line 1 of 'EMPTY', but it is empty"),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    pair: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("EMPTY").write_text("\n")
    with pytest.raises(SettingError) as caught:
        parse_client_settings([pair])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("500ms", 500),
        ("90", 90_000),
        ("1.5h", 5_400_000),
        (" 7 D ", 604_800_000),
        ("15min", 900_000),
        ("0s", 0),
    ],
)
def test_durations_are_read(text: str, milliseconds: int) -> None:
    assert parse_duration_ms(text) == milliseconds
    assert parse_duration_ms(format_duration(milliseconds)) == milliseconds


def test_a_wrong_duration_says_what_is_expected() -> None:
    for text in ("", "h", "-3s", "3 years", "nan"):
        with pytest.raises(ValueError, match="expected a length of time such as 500ms, 90s"):
            parse_duration_ms(text)
    assert format_duration(0) == "0ms"
    assert format_duration(90_000) == "90s"
