#!/bin/sh
# Takes out of the installed packages what gatecast never uses: their own tests and what one compiles against them,
# Arrow's Flight and its S3 (fsspec's s3fs is used), the data of Amazon's other services, a second backend
# of zstandard, and debug information. For the Dockerfile, in the layer that installs them: 340 MB become 245.
set -eu
cd /opt/gatecast/lib/python3.*/site-packages

rm -rf pandas/tests pyarrow/tests pyarrow/include pyarrow/src pyarrow/*.pxi pyarrow/*.pyx pyarrow/*.pxd \
  pyarrow/libarrow_flight* pyarrow/libarrow_python_flight* pyarrow/_flight* \
  pyarrow/libarrow_s3* pyarrow/_s3fs* \
  numpy/_core/include numpy/_core/lib numpy/random/lib numpy/f2py zstandard/_cffi*.so \
  pyarrow/_pyarrow_cpp_tests* numpy/_core/_simd*.so numpy/_core/_*_tests*.so
find numpy pandas -type d -name tests -prune -exec rm -rf {} +
find numpy pandas pyarrow -name '*.pyi' -delete

# The same library under three names, as zip archives have no links.
cd pyarrow
for library in libarrow_python.so.*.*; do
  ln -sf "$library" "${library%.*.*}"
  ln -sf "$library" "${library%.so*}.so"
done
cd ..

for service in botocore/data/*/; do
  case "$service" in */s3/ | */sts/ | */sso/ | */sso-oidc/ | */signin/) ;; *) rm -rf "$service" ;; esac
done

# Of those that carry some. Libraries that were changed after linking (by auditwheel: numpy, confluent-kafka) are
# left alone, as strip can break them.
apt-get update -qq
apt-get install -qq --no-install-recommends binutils >/dev/null
find zstandard lz4 aiohttp yarl multidict frozenlist propcache msgspec wrapt -name '*.so' \
  -exec strip --strip-unneeded {} +
find pyarrow -type f -name '*.so*' -exec strip --strip-unneeded {} +
apt-get purge -qq --auto-remove binutils >/dev/null
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/cache/debconf/*-old \
  /var/lib/dpkg/*-old /var/log/apt /var/log/*.log

# A library that was needed after all is found missing here and not in a worker.
/opt/gatecast/bin/python -B -c "import pandas, pyarrow.csv, pyarrow.dataset, pyarrow.parquet, s3fs, confluent_kafka"
