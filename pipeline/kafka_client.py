"""What our Kafka clients share: settings, a login with tokens, why a broker can't be reached, error texts.

kafka-python connects on a thread of its own and only logs why that failed. `ReasonedClient` keeps the reason,
for /readyz and for error messages.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from kafka import errors
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.sasl.oauth import AbstractTokenProvider
from kafka.net.selector import NetworkSelector

from pipeline.kafka_options import KafkaOptions

BOOTSTRAP_MS = 5_000  # one attempt to reach a broker; the callers try again
RECEIVE_BYTES = 256 << 10
RECONNECT_MS = 2_000  # at most so long between attempts: after hours of outage, back within seconds
_TOKEN_TIMEOUT_S = 10.0
_TOKEN_MARGIN_S = 30.0  # a token about to end is not used any more


class _ReasonedManager(KafkaConnectionManager):
    """Remembers why the last attempt to connect failed.

    A refused login ends the attempts while a client is being built (kafka-python would go on until the time
    is over). Later it may be a broker that has just started and does not know its users: it is tried again.
    """

    last_failure: BaseException | None = None
    is_building = True

    def __init__(self, net: NetworkSelector, **configs: Any) -> None:
        super().__init__(net, **configs)
        # The option of consumer and producer does not get through to what they ask the brokers for.
        self.cluster.config["allow_auto_create_topics"] = configs.get("allow_auto_create_topics", False)

    async def _build_transport(self, node: Any, **settings: Any) -> Any:
        transport = await super()._build_transport(node, **settings)
        transport._sock_recv = lambda: _receive(transport._sock)
        return transport

    async def _connect(self, node: Any, conn: Any, **settings: Any) -> None:
        await super()._connect(node, conn, **settings)
        for future in (conn.init_future, conn.close_future):
            if future.failed():
                self.last_failure = future.exception
                if self.is_building and isinstance(future.exception, errors.SaslAuthenticationFailedError):
                    self._auth_failures[node.node_id] = future.exception


def _receive(connection: socket.socket) -> tuple[bytes, BaseException | None]:
    """What has come, and why no more will. In place of kafka-python's own, for two reasons.

    That throws away what came just before the other side hung up: the answer to a login is lost whenever both
    are read at once. And it asks for 4 KiB at a time, after each of which its thread waits until the one that
    works on readings lets it go on: an answer of 8 MiB took 2 000 of those waits.
    """
    parts: list[bytes] = []
    # then what is left may be in the library's own buffer
    is_encrypted = isinstance(connection, ssl.SSLSocket)
    while True:
        try:
            part = connection.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b"".join(parts), None
        except Exception as error:
            failure = errors.KafkaConnectionError(error)
            break
        if not part:
            failure = errors.KafkaConnectionError("socket disconnected")
            break
        parts.append(part)
        if len(part) < RECEIVE_BYTES and not is_encrypted:
            return b"".join(parts), None
    data = b"".join(parts)
    return (data, None) if data else (data, failure)  # the end is read again


class ReasonedClient(KafkaNetClient):
    """What KafkaConsumer, KafkaProducer and KafkaAdminClient take as `kafka_client`."""

    def __init__(self, **configs: Any) -> None:
        net = NetworkSelector(**configs)
        super().__init__(net=net, manager=_ReasonedManager(net, **configs), **configs)

    @property
    def last_failure(self) -> BaseException | None:
        return self._manager.last_failure

    def end_building(self) -> None:
        self._manager.is_building = False


class _ClientCredentials(AbstractTokenProvider):
    """OAuth 2 client credentials (RFC 6749, section 4.4); a token is used until shortly before its end."""

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._token = ""
        self._until = 0.0

    def token(self) -> str:
        if time.monotonic() < self._until:
            return self._token
        asked = {
            "grant_type": "client_credentials",
            "client_id": self._options.oauth_client_id or "",
            "client_secret": self._options.oauth_client_secret or "",
        }
        if self._options.oauth_scope:
            asked["scope"] = self._options.oauth_scope
        url = self._options.oauth_token_url or ""
        with urllib.request.urlopen(
            url, urllib.parse.urlencode(asked).encode(), timeout=_TOKEN_TIMEOUT_S
        ) as answer:
            found = json.load(answer)
        self._token = str(found["access_token"])
        self._until = time.monotonic() + float(found.get("expires_in", 60.0)) - _TOKEN_MARGIN_S
        return self._token


def list_settings(options: KafkaOptions) -> dict[str, Any]:
    """Keyword arguments that consumer, producer and admin client understand alike."""
    settings: dict[str, Any] = {
        "bootstrap_servers": list(options.bootstrap),
        "bootstrap_timeout_ms": BOOTSTRAP_MS,
        "client_id": options.client_id,
        "reconnect_backoff_max_ms": RECONNECT_MS,
        "request_timeout_ms": 15_000,
        "metadata_max_age_ms": 30_000,  # new partitions and topics are noticed within that
        "security_protocol": options.security_protocol,
        "ssl_cafile": options.ssl_ca_file,
        "ssl_certfile": options.ssl_cert_file,
        "ssl_keyfile": options.ssl_key_file,
        "ssl_password": options.ssl_key_password,
        "sasl_mechanism": options.sasl_mechanism,
        "sasl_plain_username": options.sasl_username,
        "sasl_plain_password": options.sasl_password,
        "kafka_client": ReasonedClient,
    }
    if options.api_version is not None:
        settings["api_version"] = tuple(int(part) for part in options.api_version.split("."))
    if options.sasl_mechanism == "OAUTHBEARER":
        settings["sasl_oauth_token_provider"] = _ClientCredentials(options)
    return settings


def build_client(build: Callable[..., Any], settings: dict[str, Any]) -> Any:
    """A consumer, producer or admin client. What a failed one has started is ended again.

    Raises what the library raises, with the reason of a failed connection in place of its mere timeout.
    """
    made: list[ReasonedClient] = []

    def make(**configs: Any) -> ReasonedClient:
        made.append(ReasonedClient(**configs))
        return made[-1]

    try:
        built = build(**{**settings, "kafka_client": make})
    except Exception as error:
        for client in made:
            client.close()
            if isinstance(error, errors.KafkaTimeoutError):
                raise errors.KafkaConnectionError(str(client.last_failure or error)) from error
        raise
    for client in made:
        client.end_building()
    return built


def explain_refusal(error: BaseException, options: KafkaOptions) -> str | None:
    """One sentence for an error that trying again can't mend; None for one that it may."""
    where = options.servers
    if isinstance(error, errors.SaslAuthenticationFailedError):
        who = options.sasl_username or options.oauth_client_id
        return (
            f"{where} refused the login of {who!r} by {options.sasl_mechanism}: "
            "check kafka.sasl_username and kafka.sasl_password, or the token's client"
        )
    if isinstance(error, errors.TopicAuthorizationFailedError):
        names = ", ".join(sorted(str(name) for name in error.args[0])) if error.args else "a topic"
        return f"{where} does not let this user at {names}: grant it Describe and Read, for outputs Write"
    if isinstance(error, errors.GroupAuthorizationFailedError):
        return f"{where} does not let this user into group {options.group!r}: grant it Read on the group"
    if isinstance(error, errors.FencedInstanceIdError):
        return (
            f"another worker has joined group {options.group!r} as instance {options.instance_id!r}: "
            "give each worker a kafka.instance_id of its own"
        )
    if isinstance(error, errors.InconsistentGroupProtocolError):
        return (
            f"group {options.group!r} has members that do not balance by cooperative-sticky: "
            "stop them, or choose another kafka.group"
        )
    if isinstance(error, errors.InvalidSessionTimeoutError):
        return (
            f"{where} does not allow kafka.session_timeout_ms = {options.session_timeout_ms}: "
            "see group.min.session.timeout.ms and group.max.session.timeout.ms there"
        )
    if isinstance(error, errors.RetriableError | errors.UnknownBrokerIdError | errors.CorruptRecordError):
        return None  # a damaged batch is fetched again; if that never helps, the watchdog says so
    return f"{where} answered {type(error).__name__}: {error}"
