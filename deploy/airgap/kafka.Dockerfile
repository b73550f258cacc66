# Stands in for apache/kafka: the same jars, from Maven, on Debian's Java 17. Takes the KAFKA_ variables, paths, user
# id and volume of the official image as far as docker-compose.yml uses them; not its TLS and SASL helpers.
FROM gatecast-debian:bookworm AS jars
RUN apt-get update -qq \
 && apt-get install -qq --no-install-recommends maven openjdk-17-jre-headless >/dev/null
ARG KAFKA_VERSION
# A mirror of Maven Central; empty: Maven Central itself.
ARG MAVEN_MIRROR=
COPY pom.xml /build/
WORKDIR /build
# Without the two limits an index that does not answer is waited for, half an hour a file.
RUN if [ -n "$MAVEN_MIRROR" ]; then mkdir -p /root/.m2 && printf \
      '<settings><mirrors><mirror><id>site</id><mirrorOf>*</mirrorOf><url>%s</url></mirror></mirrors></settings>' \
      "$MAVEN_MIRROR" > /root/.m2/settings.xml; fi \
 && mvn -q -B dependency:copy-dependencies -Dkafka.version="$KAFKA_VERSION" -DincludeScope=runtime \
      -DoutputDirectory=/opt/kafka/libs \
      -Daether.connector.connectTimeout=10000 -Daether.connector.requestTimeout=60000

FROM gatecast-debian:bookworm
RUN apt-get update -qq \
 && apt-get install -qq --no-install-recommends openjdk-17-jre-headless >/dev/null \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 1000 appuser \
 && useradd --uid 1000 --gid appuser --no-create-home --shell /usr/sbin/nologin appuser \
 && install --directory --owner appuser --group appuser \
      /var/lib/kafka /var/lib/kafka/data /opt/kafka /opt/kafka/config /opt/kafka/logs /mnt/shared/config
COPY --from=jars /opt/kafka/libs /opt/kafka/libs
COPY kafka-run.sh /etc/kafka/docker/run
ARG KAFKA_VERSION
LABEL org.opencontainers.image.title="Apache Kafka from Maven, in place of apache/kafka" \
      org.opencontainers.image.version="${KAFKA_VERSION}"
USER appuser
EXPOSE 9092
VOLUME ["/var/lib/kafka/data"]
CMD ["/etc/kafka/docker/run"]
