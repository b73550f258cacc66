"""The file of thresholds: what is shipped is read, and what is wrong is said in one sentence."""

from __future__ import annotations

import pytest

from dashboards.thresholds import FILE, read_thresholds
from pipeline.config.errors import ConfigError

SHIPPED = FILE.read_text(encoding="utf-8")


def test_what_is_shipped_is_read():
    found = read_thresholds()
    assert found.score.page == 1.0
    assert (found.lag.hold, found.lag.hold.seconds) == ("5m", 300)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("records = 10000", "record = 10000", "unknown key 'lag.record'; did you mean 'records'?"),
        ("[lag]", "[lags]", "unknown key 'lags'; did you mean 'lag'?"),
        ("records = 10000", "", "expected lag.records, but it is not there"),
        ("records = 10000", "records = 0", "lag.records: expected greater than 0, found 0"),
        ('window = "10m"\nfor = "5m"\nkeep = "10m"', 'window = "10 m"\nfor = "5m"\nkeep = "10m"',
         'rejected.window: expected a duration such as "30s", "10m" or "6h", found \'10 m\''),
        ("page = 1.0", "page = 3.0", "score.page: expected 1.0, found 3; workers publish scores"),
        ("low = 0.05 ", "low = 0.2 ", "expected low < nominal < high, found 0.2, 0.1 and 0.15"),
        ("[score]", "[score", "expected TOML, but"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(tmp_path, old, new, said):
    assert old in SHIPPED
    path = tmp_path / "t.toml"
    path.write_text(SHIPPED.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        read_thresholds(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: expected a readable file of thresholds"):
        read_thresholds(tmp_path / "nowhere.toml")
