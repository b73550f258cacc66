"""The HTTP port, by real requests."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import replace
from functools import partial
from importlib.resources import files
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.exporters.access import Credentials, Tls
from pipeline.exporters.assets import read_assets
from pipeline.exporters.exposition import TEXT, expose
from pipeline.exporters.http import HttpOptions, HttpServer, Providers
from pipeline.ports import QuestionError
from pipeline.readiness import Readiness

SHARD = ("plant", 0)
SERIES = {
    "boiler/3/temp": {"id": "boiler/3/temp", "value": float("nan")},
    'Öl "2" & co': {"id": 'Öl "2" & co'},
}
CREDENTIALS = Credentials(username="prometheus", password="päss:wörd")


@pytest.fixture
def readiness():
    return Readiness()


@pytest.fixture
def providers(exported, readiness):
    return Providers(
        metrics=partial(expose, exported.registry),
        readiness=readiness,
        overview=lambda: {"version": 1, "sentence": "RNN ahead"},
        series=list_series,
        one_series=lambda name, given: SERIES[name] | dict(given) if name in SERIES else None,
        errors=lambda given: {"step": given.get("step")},
        networks=lambda: {"reach": {}},
    )


def list_series(given):
    if given.get("limit") == "many":
        raise QuestionError("limit: expected a whole number, got 'many'")
    return {"series": list(SERIES)} | dict(given)


@pytest.fixture
def server(providers):
    with HttpServer(HttpOptions(port=0), providers) as running:
        yield running


@pytest.fixture
def closed_server(providers):
    """One that wants a password."""
    with HttpServer(HttpOptions(port=0, credentials=CREDENTIALS), providers) as running:
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("no TLS certificate can be made: openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    tls = Tls(certificate_file=str(folder / "tls.crt"), key_file=str(folder / "tls.key"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", tls.certificate_file, "-keyout", tls.key_file]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return tls


def ask(server, path, *, method="GET", connection=None, **headers):
    """(status, headers, body) of one request; an underscore in a header's name stands for a hyphen."""
    own = connection or http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    own.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = own.getresponse()
    body = response.read()
    if connection is None:
        own.close()
    return response.status, response.headers, body


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# -- metrics -----------------------------------------------------------------------------------------------


def test_metrics_are_text_that_prometheus_reads(server, exported):
    exported.exporter.on_learned(7)
    status, headers, body = ask(server, "/metrics")
    assert (status, headers["content-type"]) == (200, TEXT)
    assert headers["content-encoding"] is None
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert families["gatecast_readings_learned"].samples[0].value == 7


@pytest.mark.parametrize(
    ("accepted", "squeezed"),
    [("gzip", True), ("deflate, GZIP;q=0.5", True), ("gzip;q=0", False), ("br", False), ("identity", False)],
)
def test_metrics_are_squeezed_for_who_takes_it(server, accepted, squeezed):
    _, plain_headers, plain = ask(server, "/metrics")
    _, headers, body = ask(server, "/metrics", accept_encoding=accepted)
    assert headers["content-encoding"] == ("gzip" if squeezed else None)
    assert (gzip.decompress(body) if squeezed else body) == plain
    assert "Accept-Encoding" in plain_headers["vary"]


def test_openmetrics_for_who_takes_nothing_else(server):
    _, headers, body = ask(server, "/metrics", accept="application/openmetrics-text;version=1.0.0")
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")


def test_scrapes_side_by_side_while_metrics_change(server, exported, scores):
    exported.exporter.on_assigned(*SHARD)
    stop, failures, totals = threading.Event(), [], []

    def feed():
        slot = 0
        while not stop.is_set():
            exported.exporter.on_wave(*SHARD, scores([slot], 1.0))
            slot += 1
            time.sleep(0.001)  # without a pause it takes the interpreter from all the others, for minutes

    def scrape():
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            for _ in range(10):
                status, _, body = ask(server, "/metrics", connection=connection)
                assert status == 200
                samples = [s for f in text_string_to_metric_families(body.decode()) for s in f.samples]
                found = {(s.name, *sorted(s.labels.items())): s.value for s in samples}
                labels = (("forecaster", "lstm"), ("step", "1"))
                scored = found["gatecast_forecasts_scored_total", *labels]
                assert found["gatecast_forecast_scaled_error_sum", *labels] == scored
                totals.append(scored)
            connection.close()
        except Exception as error:
            failures.append(error)

    feeder = threading.Thread(target=feed)
    scrapers = [threading.Thread(target=scrape) for _ in range(4)]
    for thread in (feeder, *scrapers):
        thread.start()
    for thread in scrapers:
        thread.join()
    stop.set()
    feeder.join()
    assert failures == []
    assert len(totals) == 40
    assert max(totals) > min(totals)


# -- health and readiness ----------------------------------------------------------------------------------


def test_alive_whatever_the_worker_says(server, readiness):
    readiness.hinder("broker away")
    assert ask(server, "/healthz")[::2] == (200, b"alive\n")


def test_ready_or_why_not(server, readiness):
    status, _, body = ask(server, "/readyz")
    assert status == 503
    assert json.loads(body)["obstacles"] == [
        {"topic": None, "partition": None, "reason": "the worker is starting"}
    ]
    readiness.hinder(None)
    assert ask(server, "/readyz")[::2] == (200, b'{"ready":true,"obstacles":[]}')
    readiness.hinder_partition("plant", 3, "loading its checkpoint")
    status, headers, body = ask(server, "/readyz")
    assert (status, headers["content-type"]) == (503, "application/json")
    assert json.loads(body) == {
        "ready": False,
        "obstacles": [{"topic": "plant", "partition": 3, "reason": "loading its checkpoint"}],
    }


# -- series ------------------------------------------------------------------------------------------------


def test_series_are_listed(server):
    status, headers, body = ask(server, "/api/v1/series")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {"series": list(SERIES)}
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", list(SERIES))
def test_one_series_by_id(server, name):
    status, _, body = ask(server, f"/api/v1/series?id={quote(name, safe='')}")
    assert status == 200
    assert json.loads(body)["id"] == name


def test_slashes_need_no_quoting_and_nan_becomes_null(server):
    assert json.loads(ask(server, "/api/v1/series?id=boiler/3/temp")[2]) == {
        "id": "boiler/3/temp",
        "value": None,
    }


@pytest.mark.parametrize("name", ["nowhere", ""])
def test_an_unknown_series_is_404(server, name):
    status, headers, body = ask(server, f"/api/v1/series?id={name}")
    assert (status, headers["content-type"]) == (404, "application/json")
    assert json.loads(body) == {
        "error": f"expected a series of this worker, got {name!r}; /api/v1/series lists them"
    }


@pytest.mark.parametrize("path", ["/nothing", "/metrics/x", "/page/nothing.js", "/page/../app.py", "/page/"])
def test_other_paths_are_404_and_say_what_there_is(server, path):
    status, _, body = ask(server, path)
    assert status == 404
    there_are = (
        "there are /, /metrics, /healthz, /readyz, /api/v1/overview, /api/v1/series, /api/v1/errors, "
        "/api/v1/networks"
    )
    assert json.loads(body) == {"error": f"nothing at {path}; {there_are}"}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("overview", {"version": 1, "sentence": "RNN ahead"}),
        ("series?search=%3Cb%3E&limit=5", {"series": list(SERIES), "search": "<b>", "limit": "5"}),
        ("series?id=boiler/3/temp&step=8", {"id": "boiler/3/temp", "value": None, "step": "8"}),
        ("errors?step=4", {"step": "4"}),
        ("networks", {"reach": {}}),
    ],
)
def test_what_the_page_asks(server, path, answer):
    status, headers, body = ask(server, f"/api/v1/{path}")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == answer


def test_a_question_that_makes_no_sense_is_400_and_says_why(server):
    status, _, body = ask(server, "/api/v1/series?limit=many")
    assert (status, json.loads(body)) == (400, {"error": "limit: expected a whole number, got 'many'"})


# -- the page ----------------------------------------------------------------------------------------------


def test_the_page_and_all_that_it_names_are_there(server):
    status, headers, body = ask(server, "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    names = set(re.findall(r'(?:src|href)="(page/[^"]+)"', body.decode()))
    script = ask(server, "/page/app.js")[2].decode()
    names |= {f"page/{name}" for name in re.findall(r'from "\./([^"]+)"', script)}
    assert {"page/app.js", "page/style.css", "page/uplot/uPlot.iife.min.js", "page/course.js"} <= names
    types = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
    for name in names:
        status, headers, body = ask(server, f"/{name}")
        assert (status, headers["content-type"]) == (200, types[name.rpartition(".")[2]]), name
        assert headers["x-content-type-options"] == "nosniff"
        assert body


def test_the_page_loads_nothing_from_elsewhere_and_runs_no_script_of_its_text(server):
    for path in ("/", "/page/app.js", "/page/style.css"):
        policy = ask(server, path)[1]["content-security-policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert {rules[kind] for kind in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assets = read_assets()
    addresses = {
        address
        for name, asset in assets.items()
        if not name.startswith("uplot/")
        for address in re.findall(r"https?://[^\s\"'`)]+", asset.body.decode())
    }
    assert addresses == {"http://www.w3.org/2000/svg"}, "a namespace, never loaded"
    own = b"".join(asset.body for name, asset in assets.items() if name.endswith(".js") and "/" not in name)
    for risky in (b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write", b"eval("):
        assert risky not in own


def test_the_licence_of_what_is_not_ours_lies_beside_it():
    folder = files("pipeline.exporters").joinpath("page", "uplot")
    assert "Permission is hereby granted, free of charge" in folder.joinpath("LICENSE").read_text()


def test_only_reading_is_allowed(server):
    status, headers, _ = ask(server, "/metrics", method="POST")
    assert status == 405
    assert "GET" in headers["allow"]
    assert ask(server, "/metrics", method="HEAD")[::2] == (200, b"")


def test_an_answer_that_fails_is_500_and_the_server_goes_on(providers, caplog):
    def fail(given):
        raise RuntimeError("the snapshot is broken")

    with HttpServer(HttpOptions(port=0), replace(providers, series=fail)) as server:
        assert ask(server, "/api/v1/series")[0] == 500
        assert ask(server, "/healthz")[0] == 200
    assert "the snapshot is broken" in caplog.text


# -- who may read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/", "/page/app.js", "/metrics", "/api/v1/overview", "/api/v1/series",
        "/api/v1/series?id=boiler/3/temp", "/api/v1/errors", "/api/v1/networks",
    ],
)  # fmt: skip
def test_without_the_password_nothing_is_told(closed_server, path):
    status, headers, body = ask(closed_server, path)
    assert status == 401
    assert headers["www-authenticate"].startswith("Basic ")
    assert json.loads(body) == {"error": "expected user and password"}
    right = basic("prometheus", "päss:wörd")
    assert ask(closed_server, path, authorization=right)[0] == 200


@pytest.mark.parametrize(
    "authorization",
    [
        basic("prometheus", "wrong"),
        basic("other", "päss:wörd"),
        basic("prometheus", "päss:wörd") + "x",
        basic("prometheus", "päss:wörd").replace("Basic", "Bearer"),
        basic("prometheus", "päss:wörd").removeprefix("Basic "),
        "Basic",
        "Basic !!!",
        "",
    ],
)
def test_wrong_credentials_are_refused(closed_server, authorization):
    assert ask(closed_server, "/metrics", authorization=authorization)[0] == 401


def test_probes_need_no_password_and_learn_no_reasons(closed_server, readiness):
    assert ask(closed_server, "/healthz")[0] == 200
    assert ask(closed_server, "/readyz")[::2] == (503, b'{"ready":false}')
    right = basic("prometheus", "päss:wörd")
    assert b"the worker is starting" in ask(closed_server, "/readyz", authorization=right)[2]
    readiness.hinder(None)
    assert ask(closed_server, "/readyz")[::2] == (200, b'{"ready":true}')


def test_the_password_is_not_shown():
    assert "wörd" not in repr(CREDENTIALS)
    assert "prometheus" in repr(CREDENTIALS)


def test_tls(providers, certificate):
    with HttpServer(HttpOptions(port=0, tls=certificate, credentials=CREDENTIALS), providers) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        context = ssl.create_default_context(cafile=certificate.certificate_file)
        secure = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=context)
        right = basic("prometheus", "päss:wörd")
        status, _, body = ask(server, "/metrics", connection=secure, authorization=right)
        secure.close()
        assert status == 200
        assert b"gatecast_build_info" in body
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(server, "/metrics")  # without TLS


def test_tls_files_are_checked_before_anything_listens(providers, certificate, tmp_path):
    missing = Tls(certificate_file=str(tmp_path / "no.crt"), key_file=certificate.key_file)
    with pytest.raises(
        ValueError, match=r"TLS: expected a PEM file at .*no\.crt, but it can't be read: No such"
    ):
        HttpServer(HttpOptions(port=0, tls=missing), providers)
    swapped = Tls(certificate_file=certificate.key_file, key_file=certificate.certificate_file)
    with pytest.raises(ValueError, match="TLS: expected a certificate and its unencrypted key, as PEM, in "):
        HttpServer(HttpOptions(port=0, tls=swapped), providers)


def test_an_encrypted_key_is_an_error_and_no_prompt(providers, certificate, tmp_path):
    locked = Tls(certificate_file=certificate.certificate_file, key_file=str(tmp_path / "locked.key"))
    command = ["openssl", "pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:secret"]
    command += ["-in", certificate.key_file, "-out", locked.key_file]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with pytest.raises(ValueError, match=r"unencrypted key.*but: the key is encrypted"):
        HttpServer(HttpOptions(port=0, tls=locked), providers)


# -- start and stop ----------------------------------------------------------------------------------------


def test_a_port_in_use_is_one_clear_error(server, providers):
    second = HttpServer(HttpOptions(port=server.port), providers)
    with pytest.raises(OSError, match="server: expected to listen on") as caught:
        second.start()
    assert str(caught.value) == (
        f"server: expected to listen on 127.0.0.1 port {server.port}, but it is in use; "
        "stop what listens there, or set server.port"
    )
    second.stop()
    assert ask(server, "/healthz")[0] == 200


def test_an_address_of_another_machine_is_a_clear_error(providers):
    with pytest.raises(OSError, match=r"192\.0\.2\.1 port 0, but .*; set server\.host to an address of this"):
        HttpServer(HttpOptions(host="192.0.2.1", port=0), providers).start()


def test_the_bound_port_is_told(server):
    assert server.port > 0
    assert server.url == f"http://127.0.0.1:{server.port}"


def test_stops_within_two_seconds_with_a_connection_open(providers):
    server = HttpServer(HttpOptions(port=0), providers)
    server.start()
    idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    assert ask(server, "/healthz", connection=idle)[0] == 200
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 2.0
    idle.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    server.stop()  # a second time does nothing
    assert not [thread for thread in threading.enumerate() if thread.name == "http"]


def test_the_port_can_be_had_again_at_once(providers):
    with HttpServer(HttpOptions(port=0), providers) as first:
        ask(first, "/healthz")
    with HttpServer(HttpOptions(port=first.port), providers) as second:
        assert ask(second, "/healthz")[0] == 200
