"""The worker's HTTP port: the live page and its JSON, metrics, health, readiness."""

from __future__ import annotations

import errno
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pipeline.exporters import assets
from pipeline.exporters.access import Credentials, Tls
from pipeline.ports import QuestionError
from pipeline.readiness import Obstacles

GZIP_LEVEL = 1
"""Measured: 9 takes fifty times as long for a fifth less."""
GZIP_WINDOW_BITS = 31  # of zlib: 15, and 16 for gzip's header
GZIP_FROM_BYTES = 1_024
KEEP_ALIVE_S = 75
"""Longer than the usual scrape interval of 15 to 60 s, so that a scraper keeps its connection."""
START_TIMEOUT_S, STOP_TIMEOUT_S = 10.0, 2.0
PATHS = (
    "/", "/metrics", "/healthz", "/readyz", "/api/v1/overview", "/api/v1/series", "/api/v1/errors",
    "/api/v1/networks",
)  # fmt: skip
Parameters = Mapping[str, str]
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Where to listen and who may read. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8000
    tls: Tls | None = None
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    """Where answers come from; called in threads of the server, several at once.

    metrics: body and content type for an Accept header. The others answer the paths of their names with
    values that msgspec can write as JSON, from the parameters of the address where they take some; a
    QuestionError says what is wrong with these. one_series: of one id, None if it is not known.
    """

    metrics: Callable[[str], tuple[bytes, str]]
    readiness: Obstacles
    overview: Callable[[], object]
    series: Callable[[Parameters], object]
    one_series: Callable[[str, Parameters], object | None]
    errors: Callable[[Parameters], object]
    networks: Callable[[], object]


class Endpoints:
    """The paths. `/healthz` is open to all; of `/readyz` everyone gets the status, and only who has the
    credentials the reasons: probes of orchestrators have no password."""

    def __init__(self, providers: Providers, credentials: Credentials | None) -> None:
        self._from, self._credentials = providers, credentials
        self._assets = assets.read_assets()

    def app(self) -> Starlette:
        # Plain functions: Starlette runs them in threads, so a slow one holds nobody up.
        routes = [
            Route("/", self._page),
            Route("/page/{path:path}", self._page),
            Route("/metrics", self._metrics),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/api/v1/overview", self._overview),
            Route("/api/v1/series", self._series),
            Route("/api/v1/errors", self._errors),
            Route("/api/v1/networks", self._networks),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: self._failed})

    def _may_read(self, request: Request) -> bool:
        return self._credentials is None or self._credentials.match(request.headers.get("authorization"))

    def _demand(self, request: Request) -> None:
        if not self._may_read(request):
            raise HTTPException(
                401, "expected user and password", {"WWW-Authenticate": 'Basic realm="gatecast"'}
            )

    def _page(self, request: Request) -> Response:
        self._demand(request)
        asset = self._assets.get(request.path_params.get("path", assets.INDEX))
        if asset is None:
            raise HTTPException(404)
        response = _respond(request, asset.body, asset.content_type)
        response.headers.update(assets.HEADERS)
        return response

    def _metrics(self, request: Request) -> Response:
        self._demand(request)
        body, content_type = self._from.metrics(request.headers.get("accept", ""))
        return _respond(request, body, content_type)

    def _healthz(self, request: Request) -> Response:
        return PlainTextResponse("alive\n", headers=HEADERS)

    def _readyz(self, request: Request) -> Response:
        obstacles = self._from.readiness.obstacles()
        answer: dict[str, object] = {"ready": not obstacles}
        if self._may_read(request):
            answer["obstacles"] = [
                {"topic": one.topic, "partition": one.partition, "reason": one.reason} for one in obstacles
            ]
        return _json(request, answer, 503 if obstacles else 200)

    def _overview(self, request: Request) -> Response:
        self._demand(request)
        return _json(request, self._from.overview())

    def _series(self, request: Request) -> Response:
        self._demand(request)
        given = dict(request.query_params)
        name = given.pop("id", None)
        if name is None:
            return self._answer(request, lambda: self._from.series(given))

        unknown = f"expected a series of this worker, got {name!r}; /api/v1/series lists them"
        return self._answer(request, lambda: self._from.one_series(name, given), unknown)

    def _errors(self, request: Request) -> Response:
        self._demand(request)
        return self._answer(request, lambda: self._from.errors(request.query_params))

    def _networks(self, request: Request) -> Response:
        self._demand(request)
        return _json(request, self._from.networks())

    def _answer(self, request: Request, make: Callable[[], object | None], unknown: str = "") -> Response:
        try:
            found = make()
        except QuestionError as error:
            return _json(request, {"error": str(error)}, 400)
        return _json(request, {"error": unknown}, 404) if found is None else _json(request, found)

    def _failed(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = error.detail
        if error.status_code == 404:
            detail = f"nothing at {request.url.path}; there are {', '.join(PATHS)}"
        response = _json(request, {"error": detail}, error.status_code)
        response.headers.update(error.headers or {})
        return response


def _json(request: Request, value: object, status: int = 200) -> Response:
    return _respond(request, msgspec.json.encode(value), "application/json", status)


def _respond(request: Request, body: bytes, content_type: str, status: int = 200) -> Response:
    headers = {**HEADERS, "Vary": "Accept, Accept-Encoding"}
    if len(body) >= GZIP_FROM_BYTES and _takes_gzip(request.headers.get("accept-encoding", "")):
        squeeze = zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WINDOW_BITS)
        body = squeeze.compress(body) + squeeze.flush()
        headers["Content-Encoding"] = "gzip"
    return Response(body, status, {**headers, "Content-Type": content_type})


def _takes_gzip(accept_encoding: str) -> bool:
    for part in accept_encoding.lower().split(","):
        coding, _, quality = part.replace(" ", "").partition(";")
        if coding == "gzip":
            return quality not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


class HttpServer:
    """Serves from a thread of its own, from `start` to `stop`. Can be used as a context manager."""

    def __init__(self, options: HttpOptions, providers: Providers) -> None:
        """Raises ValueError if the TLS files are not usable."""
        if options.tls is not None:
            options.tls.check()
        self._options = options
        config = uvicorn.Config(
            Endpoints(providers, options.credentials).app(),
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
            ssl_certfile=options.tls.certificate_file if options.tls else None,
            ssl_keyfile=options.tls.key_file if options.tls else None,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None
        self.port = 0

    def start(self) -> None:
        """Listen; on return requests are answered and `port` is the one bound. Raises OSError, its text
        being all there is to say, if the address can't be had."""
        listener = _listen(self._options.host, self._options.port)
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="http", daemon=True
        )
        self._thread.start()
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline_s:
                listener.close()
                raise OSError(f"server: expected to serve on port {self.port}, but the server did not start")
            time.sleep(0.005)

    @property
    def url(self) -> str:
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        return f"{'https' if self._options.tls else 'http'}://{host}:{self.port}"

    def stop(self) -> None:
        """End within two seconds: requests under way have one; connections that idle are closed."""
        if self._thread is not None:
            self._server.should_exit = True
            self._thread.join(STOP_TIMEOUT_S)
            self._thread = None

    def __enter__(self) -> HttpServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after a restart, past TIME_WAIT
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        why, way_out = error.strerror or str(error), "set server.host to an address of this machine"
        if error.errno == errno.EADDRINUSE:
            why, way_out = "it is in use", "stop what listens there, or set server.port"
        elif error.errno == errno.EACCES:
            way_out = "set server.port to 1024 or more"
        raise OSError(f"server: expected to listen on {host} port {port}, but {why}; {way_out}") from error
    return listener
