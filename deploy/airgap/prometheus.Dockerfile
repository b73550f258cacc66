# Stands in for prom/prometheus with Debian's package, which is an older version (2.42): rules and dashboards of
# gatecast are tested with it.
FROM gatecast-debian:bookworm
RUN apt-get update -qq \
 && apt-get install -qq --no-install-recommends prometheus >/dev/null \
 && rm -rf /var/lib/apt/lists/* \
 && install --directory --owner nobody --group nogroup /prometheus
LABEL org.opencontainers.image.title="Prometheus of Debian 12, in place of prom/prometheus"
USER 65534:65534
EXPOSE 9090
VOLUME ["/prometheus"]
WORKDIR /prometheus
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
