#!/bin/sh
# Runs the kernels' tests on ARM, under QEMU: needs Debian's qemu-user, apt-get, and wheels that `make wheels` has built.
# usage: tools/arm.sh [PYTHON]    PYTHON has pip; what is fetched goes into build/arm
set -eu
python=${1:-.venv/bin/python}
top=build/arm
mkdir -p "$top/debs"
command -v qemu-aarch64 >/dev/null || { echo "tools/arm.sh: no qemu-aarch64 found; install qemu-user" >&2; exit 1; }
if [ ! -x "$top/root/usr/bin/python3.11" ]; then
    dpkg --add-architecture arm64
    apt-get update -qq
    (cd "$top/debs" && for package in python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 zlib1g \
        libexpat1 libffi8 libssl3 libgcc-s1 libstdc++6 liblzma5 libbz2-1.0 libcrypt1 libuuid1; do
        apt-get download -qq "$package:arm64"
    done)
    dpkg --remove-architecture arm64
    for package in "$top"/debs/*.deb; do dpkg-deb -x "$package" "$top/root"; done
fi
if [ ! -d "$top/site" ]; then
    "$python" -m pip install -qq --target "$top/site" --only-binary=:all: --python-version 3.11 --implementation cp \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
        numpy zstandard xxhash pyarrow fsspec pillow simplejpeg pytest hypothesis psutil imagecodecs
fi
"$python" -m zipfile -e dist/ferdata-*_aarch64.whl "$top/site"
cd tests
QEMU_LD_PREFIX=../$top/root PYTHONPATH=../$top/site exec qemu-aarch64 "../$top/root/usr/bin/python3.11" -m pytest -q \
    -c /dev/null --rootdir . -p no:cacheprovider -m "not slow" --ignore format/codecs/test_codec_jpeg.py \
    --deselect format/codecs/test_pixel_coder.py::test_without_the_library_numpy_does_the_work_and_says_so_once \
    format/kernels format/codecs
