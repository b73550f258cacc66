"""For the image's HEALTHCHECK: exit status 0 if the worker in this container says that it is ready.

Prints what `/readyz` says otherwise, for `docker inspect`. Reads the same variables as the worker for its
port and for whether that speaks TLS; a certificate is not checked, as it names the host and not this loopback
address.
"""

import http.client
import os
import ssl
import sys

TIMEOUT_S = 4.0


def ask() -> tuple[int, str]:
    port = int(os.environ.get("GATECAST_SERVER__PORT", "8000"))
    if os.environ.get("GATECAST_SERVER__TLS_CERT_FILE"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
    return answer.status, answer.read(2000).decode("utf-8", "replace")


if __name__ == "__main__":
    try:
        status, text = ask()
    except OSError as error:
        sys.exit(f"no answer at port 8000: {error}")
    if status != http.client.OK:
        sys.exit(f"{status}: {text}")
