#!/bin/sh
# What has to be there before the first `docker compose up`: .env out of .env.example, and passwords as files.
# What is there already stays as it is, so that it can be run again.
set -eu
cd "$(dirname "$0")/.."
secrets=deploy/secrets

[ -e .env ] || { cp .env.example .env && echo "made .env (the demo; edit it for your own readings)"; }

# The folder keeps others of this machine out; in a container the file is read by Grafana's user, which is another.
chmod 700 "$secrets"
if [ ! -s "$secrets/grafana_admin_password" ]; then
  head -c 24 /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_' > "$secrets/grafana_admin_password"
  chmod 444 "$secrets/grafana_admin_password"
  echo "made $secrets/grafana_admin_password: the password of Grafana's user admin"
fi

# What deploy/alertmanager/alertmanager.yml names. Empty, only the receivers that need them fail.
mkdir -p "$secrets/alertmanager"
for name in smtp_password slack_webhook_url maintenance_token; do
  if [ ! -e "$secrets/alertmanager/$name" ]; then
    : > "$secrets/alertmanager/$name"
    chmod 444 "$secrets/alertmanager/$name"
    echo "made $secrets/alertmanager/$name: empty, to be filled where it is needed"
  fi
done
