# Stands in for prom/alertmanager with Debian's package, which is an older version (0.25) and has no pages of its own;
# its API and amtool are complete.
FROM gatecast-debian:bookworm
RUN apt-get update -qq \
 && apt-get install -qq --no-install-recommends prometheus-alertmanager >/dev/null \
 && rm -rf /var/lib/apt/lists/* \
 && ln -s prometheus-alertmanager /usr/bin/alertmanager \
 && install --directory --owner nobody --group nogroup /alertmanager
LABEL org.opencontainers.image.title="Alertmanager of Debian 12, in place of prom/alertmanager"
USER 65534:65534
EXPOSE 9093
VOLUME ["/alertmanager"]
WORKDIR /alertmanager
ENTRYPOINT ["alertmanager"]
CMD ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
