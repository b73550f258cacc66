"""`gatecast config`: what it prints, what it masks, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from forecasters import build
from pipeline.cli import main
from pipeline.config import Config, load_config

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "deploy" / "config" / "gatecast.toml"


def call(*args: object, **environ: str) -> Result:
    return CliRunner().invoke(main, ["config", *map(str, args)], env=environ)


def test_show_can_be_read_again(tmp_path: Path) -> None:
    result = call("show")
    assert result.exit_code == 0, result.stderr
    again = tmp_path / "again.toml"
    again.write_text(result.stdout)
    assert load_config(again, {}) == Config()
    assert tomllib.loads(result.stdout).keys() == Config.model_fields.keys()
    assert "# cadence_ms is not set\n" in result.stdout


def test_show_says_where_settings_come_from(tmp_path: Path) -> None:
    path = tmp_path / "plant.toml"
    path.write_text("[kafka]\ngroup = 'a'\nclient_id = 'b'\n")
    lines = call("show", "--config", path, GATECAST_KAFKA__GROUP="c").stdout.splitlines()
    assert 'group = "c"  # from GATECAST_KAFKA__GROUP' in lines
    assert f'client_id = "b"  # from {path}' in lines
    assert 'start = "earliest"' in lines


def test_show_masks_secrets(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    result = call(
        "show",
        GATECAST_SERVER__USERNAME="prometheus",
        GATECAST_SERVER__PASSWORD_FILE=str(secret),
        GATECAST_CHECKPOINTS__URL="s3://key:hun/ter2@store/bucket?sig=hunter2",
    )
    lines = result.stdout.splitlines()
    assert 'password = "***"  # from GATECAST_SERVER__PASSWORD_FILE' in lines
    assert 'url = "s3://***@store/bucket?***"  # from GATECAST_CHECKPOINTS__URL' in lines
    assert "ter2" not in result.stdout


def test_check_prints_the_bytes_of_state(tmp_path: Path) -> None:
    path = tmp_path / "plant.toml"
    path.write_text("[forecasters]\nnames = ['naive', 'rnn']\nhidden = 8\n[readings]\nmax_series = 1000\n")
    result = call("check", "--config", path)
    assert result.exit_code == 0, result.stderr
    parts = build(["naive", "rnn"], hidden=8, device="cpu").bytes_per_series()
    assert f"{path}: 3 settings, all valid\n" in result.stdout
    for name, size in parts.items():
        assert [name, f"{size:,}"] in [line.split() for line in result.stdout.splitlines()]
    total = sum(parts.values())
    assert ["all", f"{total:,}"] in [line.split() for line in result.stdout.splitlines()]
    gib = f"{total * 1000 / 2**30:.2f}"
    assert f"at readings.max_series = 1,000: {gib} GiB in each partition\n" in result.stdout


def test_check_lists_series_that_fit_no_row(tmp_path: Path) -> None:
    data, series, path = tmp_path / "plant.csv", tmp_path / "series.csv", tmp_path / "plant.toml"
    data.write_text("time,a/1,b/1,a/2\n2024-01-01T00:00,1,2,3\n2024-01-01T01:00,1,2,3\n")
    series.write_text("match,name\na/*,A\n")
    path.write_text(f"[readings]\nseries_file = '{series}'\n[forecasters]\nnames = ['naive']\n")
    result = call("check", "--config", path, "--data", data)
    assert result.exit_code == 0, result.stderr
    assert f"{series}: 1 rows, all valid\n" in result.stdout
    assert "1 of 3 series in the data fit no row:\n  b/1\n" in result.stdout
    series.write_text("match,name\n*,A\n")
    assert "0 of 3 series in the data fit no row\n" in call("check", "--config", path, "--data", data).stdout


@pytest.mark.parametrize(
    ("text", "args", "words"),
    [
        ("[kafka]\ngrop = 1\n", (), "unknown key kafka.grop; did you mean 'group'?"),
        (
            "[readings]\nseries_file = 'no.csv'\n",
            (),
            "readings.series_file: expected a readable file, found 'no.csv' (No such file or directory); "
            "correct the path or leave it out",
        ),
        (
            "[kafka]\nsecurity_protocol = 'SSL'\nssl_ca_file = '/'\n",
            (),
            "kafka.ssl_ca_file: expected a readable",
        ),
        (
            "[forecasters]\nnames = ['lsmt']\n",
            (),
            "plant.toml: forecasters: expected each at most once of naive",
        ),
        ("", ("--data", "x.csv"), "readings.series_file is not set; set it or leave --data out"),
    ],
)
def test_check_refuses_in_one_sentence(tmp_path: Path, text: str, args: tuple[str, ...], words: str) -> None:
    path = tmp_path / "plant.toml"
    path.write_text(text)
    result = call("check", "--config", path, *args)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.startswith("gatecast: ")
    assert result.stderr.count("\n") == 1


def test_check_names_a_fault_in_the_series_file(tmp_path: Path) -> None:
    series = tmp_path / "series.csv"
    series.write_text("match,min\na,x\n")
    result = call("check", GATECAST_READINGS__SERIES_FILE=str(series))
    assert result.exit_code == 2
    assert f"{series}: row 2, column min: expected a number such as 12.5, found 'x'" in result.stderr


def test_the_example_is_valid() -> None:
    assert call("check", "--config", EXAMPLE).exit_code == 0


def test_schema_is_json() -> None:
    schema = json.loads(call("schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["properties"].keys() == Config.model_fields.keys()
    assert schema["$defs"]["KafkaConfig"]["properties"]["sasl_password"]["anyOf"][0]["writeOnly"] is True


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "config", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: gatecast config ")
    assert "gatecast config check --config gatecast.toml" in done.stdout
