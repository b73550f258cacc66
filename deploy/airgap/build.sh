#!/bin/sh
# Builds the images that docker-compose.yml names where no container registry can be reached, out of mirrors of
# Debian, Maven Central and PyPI, and gatecast itself on top of them. Grafana is not among them: see deploy/README.md.
#
#   sh deploy/airgap/build.sh            all of them
#   sh deploy/airgap/build.sh kafka      some: debian python kafka prometheus alertmanager mailbox gatecast
#
# Needs Docker, debootstrap, and root (debootstrap makes devices). What it takes from where, all optional:
#   DEBIAN_MIRROR   [http://deb.debian.org/debian]
#   MAVEN_MIRROR    a mirror of Maven Central
#   PIP_INDEX_URL   a mirror of PyPI
#   TORCH_CPU_INDEX a mirror of PyTorch's CPU wheels; without one torch comes from PyPI with CUDA
#   CA_FOLDER       [/usr/local/share/ca-certificates] certificates (*.crt) of the site's own authorities
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
authorities=${CA_FOLDER:-/usr/local/share/ca-certificates}
export DOCKER_BUILDKIT=1

# The name that docker-compose.yml gives an image by default, such as apache/kafka:4.3.1.
name_of() {
  sed -n "s|^ *image: *\${[A-Z_]*:-\($1:[^}]*\)} *\$|\1|p" "$root/docker-compose.yml" | head -n 1
}

say() { printf '\n==> %s\n' "$*"; }

build() {
  dockerfile=$1 name=$2
  shift 2
  say "$name"
  docker build --quiet --file "$here/$dockerfile" --tag "$name" \
    ${PIP_INDEX_URL:+--build-arg PIP_INDEX_URL="$PIP_INDEX_URL"} "$@" "$here"
}

build_debian() {
  say "gatecast-debian:bookworm from $mirror"
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  debootstrap --variant=minbase --include=ca-certificates bookworm "$folder" "$mirror" >/dev/null
  if ls "$authorities"/*.crt >/dev/null 2>&1; then
    cp "$authorities"/*.crt "$folder/usr/local/share/ca-certificates/"
    chroot "$folder" update-ca-certificates
  fi
  {
    echo "deb $mirror bookworm main"
    [ -n "${DEBIAN_MIRROR:-}" ] || {
      echo "deb $mirror bookworm-updates main"
      echo "deb http://deb.debian.org/debian-security bookworm-security main"
    }
  } > "$folder/etc/apt/sources.list"
  # As Debian's own slim image: no lists, archives, documents or translations, now and in what is installed later.
  printf 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n' > "$folder/etc/apt/apt.conf.d/slim"
  printf 'path-exclude=/usr/share/%s/*\n' doc man locale > "$folder/etc/dpkg/dpkg.cfg.d/slim"
  rm -rf "$folder"/var/cache/apt/* "$folder"/var/lib/apt/lists/* "$folder"/usr/share/doc/* \
    "$folder"/usr/share/man/* "$folder"/usr/share/locale/* "$folder"/var/log/*.log
  # Java's package looks for the folder of manual pages.
  mkdir -p "$folder/usr/share/man/man1"
  tar --directory "$folder" --create . | docker import --change 'CMD ["bash"]' - gatecast-debian:bookworm
  rm -rf "$folder"
}

build_python() { build python.Dockerfile python:3.11-slim-bookworm; }
build_kafka() {
  name=$(name_of apache/kafka)
  build kafka.Dockerfile "$name" --build-arg KAFKA_VERSION="${name#*:}" \
    ${MAVEN_MIRROR:+--build-arg MAVEN_MIRROR="$MAVEN_MIRROR"}
}
build_prometheus() { build prometheus.Dockerfile "$(name_of prom/prometheus)"; }
build_alertmanager() { build alertmanager.Dockerfile "$(name_of prom/alertmanager)"; }
build_mailbox() { build mailbox.Dockerfile "$(name_of axllent/mailpit)"; }
build_gatecast() {
  name=$(name_of gatecast)
  say "$name"
  docker build --file "$root/deploy/Dockerfile" --target cpu --tag "$name" \
    ${PIP_INDEX_URL:+--build-arg PIP_INDEX_URL="$PIP_INDEX_URL"} \
    ${TORCH_CPU_INDEX:+--build-arg TORCH_CPU_INDEX="$TORCH_CPU_INDEX"} "$root"
}

for part in ${*:-debian python kafka prometheus alertmanager mailbox gatecast}; do
  case "$part" in
    debian | python | kafka | prometheus | alertmanager | mailbox | gatecast) "build_$part" ;;
    *)
      echo "build.sh: expected debian, python, kafka, prometheus, alertmanager, mailbox or gatecast, not '$part'." >&2
      exit 2
      ;;
  esac
done
