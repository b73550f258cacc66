"""A mailbox that shows the mails of the demo, in Mailpit's place: SMTP on port 1025, pages on port 8025.

Takes every mail, keeps the newest 500 in memory and sends none on. Answers the two requests of Mailpit's API
that are of use here: `GET /api/v1/messages` (newest first) and `GET /api/v1/message/ID`; `/` is a page for
people. `mailbox.py readyz` is the health check: exit status 0 if the pages answer.
"""

from __future__ import annotations

import html
import json
import sys
import time
import urllib.request
from collections import deque
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

SMTP_PORT = 1025
PAGE_PORT = 8025
KEPT = 500

mails: deque[dict[str, Any]] = deque(maxlen=KEPT)


class Inbox:
    """What aiosmtpd calls for each mail."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        mails.appendleft(describe(message, envelope))
        print(f"mail to {', '.join(envelope.rcpt_tos)}: {message['subject']}", flush=True)
        return "250 taken"


def describe(message: EmailMessage, envelope: Envelope) -> dict[str, Any]:
    """With the names that Mailpit's API has."""
    parts = {kind: message.get_body(preferencelist=(kind,)) for kind in ("plain", "html")}
    return {
        "ID": f"{time.time_ns():x}",
        "Created": datetime.now(UTC).isoformat(),
        "From": {"Address": envelope.mail_from},
        "To": [{"Address": address} for address in envelope.rcpt_tos],
        "Subject": str(message["subject"] or ""),
        "Text": parts["plain"].get_content() if parts["plain"] else "",
        "HTML": parts["html"].get_content() if parts["html"] else "",
    }


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        held = list(mails)
        if self.path == "/":
            self.reply(render(held), "text/html; charset=utf-8")
        elif self.path.startswith("/api/v1/messages"):
            brief = [{k: mail[k] for k in ("ID", "Created", "From", "To", "Subject")} for mail in held]
            self.reply(json.dumps({"total": len(held), "messages": brief}), "application/json")
        elif found := [mail for mail in held if self.path == f"/api/v1/message/{mail['ID']}"]:
            self.reply(json.dumps(found[0]), "application/json")
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def reply(self, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: health checks would fill the log."""


def render(held: list[dict[str, Any]]) -> str:
    """Subjects that open to the mail's text. HTML of a mail is shown as text, so that it can do nothing."""
    rows = "".join(
        "<details><summary>{} <b>{}</b> to {}</summary><pre>{}</pre></details>".format(
            mail["Created"][:19],
            html.escape(mail["Subject"]),
            html.escape(", ".join(to["Address"] for to in mail["To"])),
            html.escape(mail["Text"] or mail["HTML"]),
        )
        for mail in held
    )
    return f"<!doctype html><meta charset=utf-8><title>Mails</title><h1>{len(held)} mails</h1>{rows}"


def main() -> None:
    if sys.argv[1:] == ["readyz"]:
        urllib.request.urlopen(f"http://127.0.0.1:{PAGE_PORT}/", timeout=3).read()
        return
    Controller(Inbox(), hostname="0.0.0.0", port=SMTP_PORT).start()
    ThreadingHTTPServer(("0.0.0.0", PAGE_PORT), Pages).serve_forever()


if __name__ == "__main__":
    main()
