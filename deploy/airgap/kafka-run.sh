#!/bin/bash
# Starts one broker as the official image does: each variable KAFKA_SOME_NAME is the property some.name, CLUSTER_ID
# formats an empty folder, KAFKA_HEAP_OPTS goes to Java.
set -euo pipefail
properties=/opt/kafka/config/server.properties

# Not properties, but options of the official image's scripts.
skipped='^KAFKA_(HEAP_OPTS|OPTS|JVM_PERFORMANCE_OPTS|LOG4J_[A-Z_]*|JMX_[A-Z_]*)='
env | grep '^KAFKA_' | grep -Ev "$skipped" | sort | while IFS='=' read -r name value; do
  # One underscore is a dot, two are an underscore, three a dash.
  key=$(printf '%s' "${name#KAFKA_}" | tr '[:upper:]' '[:lower:]' | sed 's/___/-/g; s/__/\x01/g; s/_/./g; s/\x01/_/g')
  printf '%s=%s\n' "$key" "$value"
done > "$properties"

java=(java -cp '/opt/kafka/libs/*' -Dorg.slf4j.simpleLogger.defaultLogLevel=warn)
if ! compgen -G "${KAFKA_LOG_DIRS:-/var/lib/kafka/data}/meta.properties" >/dev/null; then
  "${java[@]}" kafka.tools.StorageTool format -t "${CLUSTER_ID:?expected the id of the cluster}" -c "$properties"
fi
read -ra heap <<< "${KAFKA_HEAP_OPTS:--Xms512m -Xmx512m}"
echo "Kafka is started from Maven's jars with $properties"
exec "${java[@]}" "${heap[@]}" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExitOnOutOfMemoryError \
  kafka.Kafka "$properties"
