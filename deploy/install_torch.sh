#!/bin/sh
# Installs torch at the version in /constraints.txt, for the Dockerfile: install_torch.sh cpu|cuda INDEX
#
# cpu takes it from INDEX and, if that does not answer within a few seconds or lacks the version, from the usual
# index, and says so: on x86-64 that build brings CUDA along. cuda takes it from INDEX, or from the usual one.
set -eu
build=$1
index=$2
pip="python -m pip --python /opt/gatecast/bin/python"
torch=$(grep '^torch==' /constraints.txt)

if [ -z "$index" ]; then
  $pip install -c /constraints.txt "$torch"
elif [ "$build" = cuda ]; then
  # What torch needs beside itself comes from the usual index.
  $pip install -c /constraints.txt --extra-index-url "$index" "$torch"
elif timeout 20 python -m pip --timeout 5 --retries 0 index versions torch --index-url "$index" >/dev/null 2>&1 &&
  $pip install --no-deps --index-url "$index" "$torch"; then
  $pip install -c /constraints.txt "$torch"
  echo "torch: the CPU build is installed"
else
  echo "torch: NOT AVAILABLE from $index; falling back to the usual index." >&2
  echo "torch: on x86-64 that build brings CUDA along: 4.7 GB in the image, used or not." >&2
  echo "torch: --build-arg TORCH_CPU_INDEX=URL names another index, such as a mirror of the CPU one." >&2
  $pip install -c /constraints.txt "$torch"
fi
