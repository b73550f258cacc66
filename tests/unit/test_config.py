"""The configuration: precedence, secrets, what is refused and in which words, the schema and the example."""

from __future__ import annotations

import ast
import dataclasses
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forecasters import NAMES, build
from forecasters.recurrent import RecurrentOptions
from pipeline.backtest import DEFAULT_COVERAGE, DEFAULT_FORECASTERS, DEFAULT_HORIZON
from pipeline.config import Config, ConfigError, load_config, resolve_config, suggest
from pipeline.config.environment import name_variable
from pipeline.config.keys import list_keys, read_text
from pipeline.config_command import find_value
from pipeline.engine.intake import IntakeOptions

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "deploy" / "config" / "gatecast.toml"

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "plant.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refuse(path: Path | None, environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults_hold_without_a_file() -> None:
    config = load_config(None, {})
    assert config == Config()
    assert config.kafka.bootstrap == ("localhost:9092",)
    assert config.forecasters.champion == "blend"
    assert config.readings.retire_after_s == 7 * 24 * 3600
    assert not config.readings.model_fields_set


def test_defaults_are_those_of_what_is_configured() -> None:
    """A key that is left out must mean the same in every command."""
    config = Config()
    models, learning = config.forecasters, config.learning
    given = (models.names, models.horizon, models.coverage)
    assert given == (DEFAULT_FORECASTERS, DEFAULT_HORIZON, DEFAULT_COVERAGE)
    assert build.__kwdefaults__ is not None
    for name in ("horizon", "seed", "device", "coverage"):
        assert getattr(models, name) == build.__kwdefaults__[name]
    for name in ("chunk", "replay"):
        assert getattr(learning, name) == build.__kwdefaults__[name]
    network = RecurrentOptions()
    assert (models.hidden, models.layers, learning.rate) == (network.hidden, network.layers, network.rate)
    intake = dataclasses.asdict(IntakeOptions())
    shared = intake.keys() & type(config.readings).model_fields.keys()
    assert shared >= {"cadence_ms", "season_ms", "max_gap", "cadence_readings", "max_series"}
    assert {name: getattr(config.readings, name) for name in shared} == {n: intake[n] for n in shared}


def test_the_description_of_names_lists_every_forecaster() -> None:
    described = list_keys()["forecasters", "names"].schema["description"]
    assert all(name in described for name in NAMES)


def test_the_environment_wins_over_the_file(write: Write) -> None:
    path = write('[kafka]\ngroup = "a"\nclient_id = "c"\n[learning]\nrate = 0.01\n')
    resolved = resolve_config(path, {"GATECAST_KAFKA__GROUP": "b"})
    assert (resolved.config.kafka.group, resolved.config.kafka.client_id) == ("b", "c")
    assert resolved.origins == {
        ("kafka", "group"): "GATECAST_KAFKA__GROUP",
        ("kafka", "client_id"): str(path),
        ("learning", "rate"): str(path),
    }


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("FORECASTERS__NAMES", "rnn, lstm", ("rnn", "lstm")),
        ("FORECASTERS__NAMES", '["rnn", "lstm"]', ("rnn", "lstm")),
        ("FORECASTERS__HORIZON", "48", 48),
        ("FORECASTERS__COVERAGE", "0.8", 0.8),
        ("LEARNING__RATE", "1", 1.0),
        ("FORECASTS__STEPS", "all", "all"),
        ("FORECASTS__STEPS", "1,6,24", (1, 6, 24)),
        ("METRICS__SERIES_STEPS", "2", (2,)),
        ("METRICS__WATCH", "[ab]*,pump?", ("[ab]*", "pump?")),
        ("READINGS__FIELDS__TIME", "ts", "ts"),
        ("READINGS__FIELDS__GOOD", "Good,192", ("Good", 192)),
        ("KAFKA__BOOTSTRAP", "a:1,b:2", ("a:1", "b:2")),
        ("KAFKA__BOOTSTRAP", "[::1]:9092", ("[::1]:9092",)),
        ("KAFKA__TOPICS", "re:a{1,2}", ("re:a{1,2}",)),
        ("KAFKA__GROUP", " g ", "g"),
    ],
)
def test_variables_are_read_as_their_key_asks(variable: str, text: str, value: object) -> None:
    path = tuple(variable.lower().split("__"))
    assert find_value(load_config(None, {f"GATECAST_{variable}": text}), path) == value


def test_every_key_has_a_variable() -> None:
    for path, key in list_keys().items():
        example = key.schema.get("examples", [key.default])[0]
        text = ",".join(map(str, example)) if isinstance(example, list | tuple) else str(example)
        value = read_text(key, text)
        expected = list(example) if isinstance(example, tuple) else example
        assert key.is_secret or value in (expected, text), key.name
        assert name_variable(path) == f"GATECAST_{'__'.join(path).upper()}"


def test_an_empty_variable_and_those_of_others_are_left_alone() -> None:
    environ = {
        "GATECAST_KAFKA__GROUP": "",
        "GATECAST_TEST_DATA": "/data",
        "GATECAST_SERVICE_HOST": "10.0.0.7",
        "GATECAST_SERVER_PORT": "tcp://10.0.0.7:8000",  # of Kubernetes, for a service gatecast-server
        "KAFKA__GROUP": "no",
    }
    assert not resolve_config(None, environ).origins


def test_secrets_come_from_files_and_show_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    environ = {"GATECAST_SERVER__USERNAME": "u", "GATECAST_SERVER__PASSWORD_FILE": str(secret)}
    resolved = resolve_config(None, environ)
    password = resolved.config.server.password
    assert password is not None
    assert password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(resolved)
    assert resolved.origins["server", "password"] == "GATECAST_SERVER__PASSWORD_FILE"


def test_every_secret_has_a_file_variable(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secrets = [key for key in list_keys().values() if key.is_secret]
    names = {key.name for key in secrets}
    assert names == {
        "kafka.sasl_password",
        "kafka.oauth_client_secret",
        "kafka.ssl_key_password",
        "server.password",
    }
    for key in secrets:
        with pytest.raises(ConfigError, match=key.path[1]):  # what belongs to it is missing, so it was read
            load_config(None, {f"{name_variable(key.path)}_FILE": str(secret)})


def test_secret_files_that_cannot_be_used(tmp_path: Path) -> None:
    name = "GATECAST_SERVER__PASSWORD_FILE"
    missing, empty, binary, long = (tmp_path / part for part in ("missing", "empty", "binary", "long"))
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe\x00")
    long.write_text("x" * 100_000)
    assert refuse(None, {name: str(missing)}).startswith(
        f"{name}: expected a readable file with the secret, found '{missing}' (No such file"
    )
    assert "but the file is empty" in refuse(None, {name: str(empty)})
    assert "expected UTF-8 text" in refuse(None, {name: str(binary)})
    assert "longer than 64 KiB" in refuse(None, {name: str(long)})
    both = {name: str(empty), "GATECAST_SERVER__PASSWORD": "x"}
    assert refuse(None, both) == (
        f"{name}: expected server.password to be set once, but GATECAST_SERVER__PASSWORD sets it too; "
        "unset one of them"
    )


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("KAFA__GROUP", "x", "GATECAST_KAFA__GROUP: unknown section 'kafa'; did you mean 'kafka'?"),
        (
            "KAFKA__GROP",
            "x",
            "GATECAST_KAFKA__GROP: unknown key kafka.grop; did you mean 'GATECAST_KAFKA__GROUP'?",
        ),
        ("KAFKA__GROUP_FILE", "x", "GATECAST_KAFKA__GROUP_FILE: unknown key kafka.group_file"),
        (
            "KAFKA_GROUP",
            "x",
            "GATECAST_KAFKA_GROUP: expected two underscores between section and key; "
            "rename it GATECAST_KAFKA__GROUP",
        ),
        (
            "READINGS__FIELDS",
            "{}",
            "GATECAST_READINGS__FIELDS: expected a key of section readings.fields behind it, "
            "as in GATECAST_READINGS__FIELDS__SERIES",
        ),
        (
            "FORECASTERS__HORIZON",
            "two",
            "GATECAST_FORECASTERS__HORIZON: expected a whole number from 1 to 10000, found 'two'; "
            "leave it out for 24",
        ),
        ("LEARNING__RATE", "nan", "LEARNING__RATE: expected a number above 0 and at most 1, found 'nan'"),
        ("LOG__LEVEL", "loud", 'expected one of "debug", "info", "warning", "error", found \'loud\''),
        ("KAFKA__SASL_MECHANISM", "x", "\"OAUTHBEARER\", found 'x'; or leave it out"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, text: str, words: str) -> None:
    assert words in refuse(None, {f"GATECAST_{variable}": text})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[kafak]\n", "unknown section 'kafak'; did you mean 'kafka'?"),
        ("[kafka]\ngrop = 'x'\n", "unknown key kafka.grop; did you mean 'group'?"),
        ("[readings.fields]\ntimes = 'x'\n", "unknown key readings.fields.times; did you mean 'time'?"),
        ("[readings]\nfields = 1\n", "readings.fields: expected a section [readings.fields], found 1"),
        ("[kafka.group]\nx = 1\n", "kafka.group: expected text of at least one character, found {'x': 1}"),
        ("kafka = 'x'\n", "kafka: expected a section [kafka], found 'x'"),
        ("[kafka]\ngroup = ''\n", "kafka.group: expected text of at least one character, found ''"),
        ("[kafka]\nbootstrap = 'kafka'\n", "kafka.bootstrap: expected brokers as HOST:PORT such as"),
        ("[kafka]\nbootstrap = []\n", "kafka.bootstrap: expected a list of names such as"),
        ("[kafka]\ntopics = ['re:(']\n", "kafka.topics: expected a regular expression behind re: ("),
        ("[kafka]\ntopics = ['re:a', 'b']\n", "a single pattern (re:…) and nothing beside it"),
        ("[kafka]\ntopics = ['a b']\n", "expected a topic's name of at most 249 letters, digits"),
        ("[kafka]\nalerts_topic = '..'\n", "kafka.alerts_topic: expected a topic's name"),
        ("[kafka]\napi_version = '2'\n", "kafka.api_version: expected text such as \"2.3\", found '2'"),
        ("[server]\nport = 70000\n", "server.port: expected a whole number from 0 to 65535, found 70000"),
        ("[server]\nport = '80'\n", "server.port: expected a whole number from 0 to 65535, found '80'"),
        ("[server]\nport = true\n", "server.port: expected a whole number from 0 to 65535, found True"),
        ("[readings]\nmax_gap = -1\n", "max_gap: expected a whole number of at least 0, found -1"),
        ("[learning]\nrate = inf\n", "learning.rate: expected a number above 0 and at most 1, found inf"),
        ("[alerts]\nbudget = '5'\n", 'expected a budget above 0 such as "5/day" or "0.1/series/day"'),
        ("[alerts]\nbudget = '0/day'\n", "found '0/day'; leave it out for \"5/day\""),
        ("[forecasts]\nsteps = 'some'\n", 'expected "all" or a list of whole numbers of at least 1 such as'),
        ("[forecasts]\nsteps = [0]\n", "found [0]"),
        ("[forecasters]\nnames = ['rnn', 'rnn']\n", "forecasters.names: expected each name once"),
        ("[forecasters]\ndevice = 'tpu'\n", "expected text such as \"auto\", found 'tpu'"),
        ("[readings.fields]\ngood = [true]\n", "expected a list of names and whole numbers such as"),
        ("[metrics]\nwatch = ['" + "x" * 90 + "', 1]\n", "found ['xxx"),
        ("[readings]\ncadence_ms = 1979-05-27\n", "found datetime.date(1979, 5, 27); or leave it out"),
    ],
)
def test_a_wrong_setting_in_the_file_is_named(write: Write, text: str, words: str) -> None:
    path = write(text)
    message = refuse(path, {})
    assert words in message
    assert message.startswith(f"{path}: ")
    assert len(message) < 400


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[kafka]\nsasl_username = 'u'\n",
            "kafka.sasl_username: sasl_username is set, but security_protocol is PLAINTEXT; set it",
        ),
        (
            "[kafka]\nsecurity_protocol = 'SASL_SSL'\n",
            "security_protocol SASL_SSL needs a sasl_mechanism: PLAIN,",
        ),
        (
            "[kafka]\nsecurity_protocol = 'SASL_SSL'\nsasl_mechanism = 'PLAIN'\n",
            "sasl_mechanism PLAIN needs sasl_username and sasl_password",
        ),
        (
            "[kafka]\nsecurity_protocol = 'SASL_SSL'\nsasl_mechanism = 'OAUTHBEARER'\n"
            "oauth_client_id = 'x'\n",
            "sasl_mechanism OAUTHBEARER needs oauth_token_url and oauth_client_secret",
        ),
        ("[kafka]\nssl_ca_file = 'x'\n", "ssl_ca_file is set, but security_protocol is PLAINTEXT, without"),
        (
            "[kafka]\nsecurity_protocol = 'SSL'\nssl_key_file = 'x'\n",
            "ssl_key_file needs the ssl_cert_file that it belongs to",
        ),
        (
            "[kafka]\nalerts_topic = 'gatecast.readings'\n",
            "kafka.alerts_topic: expected topics of readings other than what is sent, but "
            "'gatecast.readings' is also alerts_topic",
        ),
        (
            "[kafka]\nalerts_topic = 'x'\nforecasts_topic = 'x'\n",
            "expected forecasts_topic and alerts_topic to differ, but both are 'x'",
        ),
        (
            "[readings.fields]\nvalue = 'v'\nvalues = 'f.*'\n",
            "expected either value (one reading an object) or values (several), but both are set",
        ),
        (
            "[forecasters]\nchampion = 'gru'\n",
            "expected champion to be leader or one of the names, which are naive, seasonal_naive, "
            "linear, rnn, lstm, blend, found 'gru'",
        ),
        (
            "[forecasts]\nforecasters = ['gru']\n",
            "expected some of forecasters.names, which are naive, seasonal_naive, linear, rnn, lstm, blend, "
            "found 'gru'",
        ),
        ("[metrics]\nseries_forecasters = ['gru']\n", "metrics.series_forecasters: expected some of"),
        (
            "[forecasters]\nhorizon = 4\n[forecasts]\nsteps = [1, 5]\n",
            "expected steps up to forecasters.horizon, which is 4, found 5; raise the horizon or leave",
        ),
        ("[metrics]\nseries_steps = [25]\n", "metrics.series_steps: expected steps up to"),
        (
            "[server]\nusername = 'u'\n",
            "server.username: expected username and password together, but only username is set; "
            "set password",
        ),
        ("[server]\ntls_key_file = 'k'\n", "only tls_key_file is set; set tls_cert_file"),
    ],
)
def test_settings_at_odds_are_named(write: Write, text: str, words: str) -> None:
    path = write(text)
    message = refuse(path, {})
    assert words in message
    assert message.startswith(f"{path}: ")


def test_settings_at_odds_name_the_variable() -> None:
    message = refuse(None, {"GATECAST_KAFKA__SASL_PASSWORD": "hunter2"})
    assert message.startswith("GATECAST_KAFKA__SASL_PASSWORD: sasl_password is set, but")
    assert "hunter2" not in message


def test_a_wrong_secret_is_not_shown(write: Write) -> None:
    message = refuse(write("[server]\npassword = 4711\n"), {})
    assert "server.password: expected text" in message
    assert "found something else (a secret, so not shown); or leave it out" in message
    with pytest.raises(ConfigError) as caught:
        load_config(write("[server]\npassword = 4711\n"), {})
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__  # a traceback would show the library's error


def test_files_that_cannot_be_read(write: Write, tmp_path: Path) -> None:
    assert "expected a readable TOML file (No such file" in refuse(tmp_path / "missing.toml", {})
    assert "expected TOML (" in refuse(write("[kafka\n"), {})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe[kafka]")
    assert "binary.toml: expected TOML (" in refuse(binary, {})


def test_champion_follows_the_names_where_it_is_left_out(write: Write) -> None:
    config = load_config(write("[forecasters]\nnames = ['rnn', 'lstm']\n"), {})
    assert config.forecasters.champion == "lstm"
    assert config.sent_forecasters == ("lstm",)


def test_what_is_sent_and_shown_is_resolved(write: Write) -> None:
    config = load_config(None, {})
    assert config.sent_steps == tuple(range(1, 25))
    assert (config.sent_forecasters, config.shown_forecasters) == (("blend",), ("rnn", "lstm", "blend"))
    assert config.shown_steps == (1, 24)
    path = write(
        "[forecasters]\nnames = ['naive', 'rnn']\nchampion = 'naive'\nhorizon = 1\n"
        "[forecasts]\nforecasters = ['champion', 'rnn', 'naive']\nsteps = [1, 1]\n"
    )
    config = load_config(path, {})
    assert (config.sent_forecasters, config.sent_steps) == (("naive", "rnn"), (1,))
    assert (config.shown_forecasters, config.shown_steps) == (("rnn", "naive"), (1,))


def test_topics_may_be_one_pattern(write: Write) -> None:
    kafka = load_config(write("[kafka]\ntopics = 're:plant\\..*'\napi_version = '2.3'\n"), {}).kafka
    assert kafka.pattern == r"plant\..*"
    assert kafka.api_version_numbers == (2, 3)
    assert (Config().kafka.pattern, Config().kafka.api_version_numbers) == (None, None)


def test_budgets_are_read(write: Write) -> None:
    alerts = load_config(write("[alerts]\nbudget = '0.1/series/day'\n"), {}).alerts
    assert (alerts.budget_per_day, alerts.budget_is_per_series) == (0.1, True)
    assert (Config().alerts.budget_per_day, Config().alerts.budget_is_per_series) == (5.0, False)


def test_suggest_names_the_nearest_else_all() -> None:
    assert suggest("grup", ["group", "topics"]) == "did you mean 'group'?"
    assert suggest("zzz", ["b", "a"]) == "known are a, b"


def test_every_key_is_described_in_one_sentence_with_bounds() -> None:
    for key in list_keys().values():
        assert key.schema["description"].endswith("."), key.name
        for option in key.schema.get("anyOf", [key.schema]):
            if option.get("type") in ("integer", "number"):
                assert option.keys() & {"minimum", "exclusiveMinimum"}, key.name


def test_the_schema_accepts_what_the_models_accept() -> None:
    """Every section is closed, references resolve, and defaults are those of the models."""
    schema = json.loads(json.dumps(Config.model_json_schema()))
    assert set(schema["properties"]) == set(Config.model_fields)
    for name, part in schema["properties"].items():
        section = schema["$defs"][part["$ref"].rpartition("/")[2]]
        assert section["additionalProperties"] is False
        for key, field in section["properties"].items():
            if "$ref" in field:
                assert field["$ref"].rpartition("/")[2] in schema["$defs"]
                continue
            default = field["default"]
            value = find_value(Config(), (name, key))
            assert default == (list(value) if isinstance(value, tuple) else value)


def test_the_example_has_every_key_with_its_default() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert load_config(EXAMPLE, {}) == Config()
    # With the comments taken off what looks like a setting, each key is there and its example is accepted.
    section, found, examples = "", set(), {}
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        key, sign, value = line.removeprefix("# ").partition(" = ")
        if sign and " " not in key:
            path = (*section.split("."), key)
            found.add(path)
            if line.startswith("# "):
                examples[path] = tomllib.loads(f"x = {value}")["x"]
    assert found == set(list_keys())
    for path, value in examples.items():
        assert read_text(list_keys()[path], str(value)) in (value, str(value), [value])


def test_only_one_file_reads_the_environment() -> None:
    readers = set()
    for path in [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("forecasters/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: tuple[Any, ...] = (getattr(node, "attr", None), getattr(node, "name", None))
            if {"environ", "getenv"} & set(names):
                readers.add(path.relative_to(ROOT).as_posix())
    assert readers == {"pipeline/config/environment.py"}
