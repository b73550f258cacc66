# Stands in for axllent/mailpit: a mailbox for the demo that keeps mails in memory and shows them.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE}
ARG PIP_INDEX_URL
RUN pip install --no-cache-dir --root-user-action=ignore aiosmtpd==1.4.6
COPY --chmod=755 mailbox.py /mailpit
RUN sed -i '1i #!/usr/bin/env python' /mailpit
LABEL org.opencontainers.image.title="Mailbox of gatecast's demo, in place of axllent/mailpit"
USER 65534:65534
EXPOSE 1025 8025
ENTRYPOINT ["/mailpit"]
