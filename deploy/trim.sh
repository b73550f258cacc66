#!/bin/sh
# Removes what the installed packages bring for their own tests, for compiling against them, and for network
# services that gatecast never speaks (Arrow Flight, Substrait). For the Dockerfile, in the layer that installs them.
set -eu
cd /opt/gatecast/lib/python3.*/site-packages
rm -rf pyarrow/tests pyarrow/include pyarrow/src pyarrow/libarrow_flight* pyarrow/libarrow_python_flight* \
  pyarrow/_flight* pyarrow/libarrow_substrait* pyarrow/_substrait* pandas/tests
find numpy pandas -type d -name tests -prune -exec rm -rf {} +
