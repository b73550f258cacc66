"""Where messages arrive: a mail server and a web hook that keep what they get, and when."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.stack.servers import find_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """arrived_s: since the epoch."""

    arrived_s: float
    to: tuple[str, ...]
    message: EmailMessage

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        return self._body("plain")

    @property
    def html(self) -> str:
        return self._body("html")

    def _body(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        assert part is not None, f"no {kind} in {self.message}"
        return str(part.get_content())


class _Keeper:
    def __init__(self, mails: list[Mail]) -> None:
        self._mails = mails

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self._mails.append(Mail(arrived_s=time.time(), to=tuple(envelope.rcpt_tos), message=message))
        return "250 OK"


class Mailbox:
    """Takes any mail, from `with` to its end."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self._controller = Controller(_Keeper(self.mails), hostname="127.0.0.1", port=find_port())

    @property
    def address(self) -> str:
        return f"{self._controller.hostname}:{self._controller.port}"

    def __enter__(self) -> Mailbox:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def find(self, words: str) -> list[Mail]:
        """Mails whose subject has these words."""
        return [mail for mail in list(self.mails) if words in mail.subject]

    def wait_for(self, words: str, timeout_s: float, while_waiting: Callable[[], None] | None = None) -> Mail:
        deadline = time.monotonic() + timeout_s
        while not (found := self.find(words)):
            subjects = [mail.subject for mail in self.mails]
            assert time.monotonic() < deadline, f"no mail {words!r} in {timeout_s:.0f} s, but {subjects}"
            if while_waiting is not None:
                while_waiting()
            time.sleep(0.1)
        return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(slots=True)
class Hook:
    """Takes any JSON that is posted, from `with` to its end."""

    calls: list[Call] = field(default_factory=list)
    url: str = ""
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Hook:
        calls = self.calls

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                calls.append(Call(path=self.path, headers=dict(self.headers), body=json.loads(body)))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
