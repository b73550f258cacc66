# Stands in for python:3.11-slim-bookworm: Debian 12's Python 3.11, `python` in the PATH, pip for builds.
FROM gatecast-debian:bookworm
RUN apt-get update -qq \
 && apt-get install -qq --no-install-recommends python3 python3-pip python3-venv libgomp1 >/dev/null \
 && rm -rf /var/lib/apt/lists/* \
 && ln -s /usr/bin/python3 /usr/local/bin/python \
 # Debian refuses pip outside of environments; the official image does not.
 && rm -f /usr/lib/python3.*/EXTERNALLY-MANAGED
# pip's own list of authorities lacks a site's own; the system's has it.
ENV LANG=C.UTF-8 PIP_CERT=/etc/ssl/certs/ca-certificates.crt
LABEL org.opencontainers.image.title="Python of Debian 12, in place of python:3.11-slim-bookworm"
CMD ["python"]
