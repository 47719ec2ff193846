#!/bin/sh
# Makes a virtual environment with ferdata in it, and says what it does.
# usage: tools/setup.sh PYTHON VENV
set -eu
python=$1
venv=$2
bin=$venv/bin

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "set-up: $("$python" --version 2>&1) found, expected Python 3.11 or newer; run: make PYTHON=/path/to/python3.11 ..." >&2
    exit 1
}
if [ ! -x "$bin/python" ]; then
    echo "set-up: making $venv"
    "$python" -m venv "$venv"
fi
echo "set-up: installing ferdata and what it needs into $venv (PyTorch is large: the first time takes a few minutes)"
"$bin/python" -m pip install -qq -e '.[test]'

# Pillow-SIMD resizes several times faster than Pillow. It is a source build that takes Pillow's place, so it is built
# aside first; Pillow stays wherever the build or the result is not sound.
simd_log=$venv/pillow-simd.log
try_simd() {
    "$bin/python" -c 'import PIL; raise SystemExit(not PIL.__version__.count(".post"))' && return 0
    case $(uname -m) in x86_64) grep -qw avx2 /proc/cpuinfo 2>/dev/null && export CC="${CC:-cc} -mavx2" ;; esac
    "$bin/python" -m pip wheel -q --no-deps --no-binary :all: -w "$venv/pillow-simd" pillow-simd || return 1
    "$bin/python" -m pip uninstall -q -y pillow pillow-simd || return 1  # both: a second set-up finds the first one's
    "$bin/python" -m pip install -q --no-deps "$venv"/pillow-simd/*.whl || return 1
    "$bin/python" -W error -c 'from PIL import Image, features; assert features.check("jpg") and features.check("zlib")' || return 1
}
if [ "${FERDATA_PILLOW:-simd}" = pillow ]; then
    echo "set-up: Pillow-SIMD not tried, because FERDATA_PILLOW=pillow"
elif echo "set-up: trying to build Pillow-SIMD (needs a C compiler and the libjpeg and zlib headers)" && try_simd >"$simd_log" 2>&1; then
    :
else
    "$bin/python" -m pip uninstall -qq -y pillow-simd >>"$simd_log" 2>&1 || true
    "$bin/python" -m pip install -qq --force-reinstall --no-deps 'pillow>=9.5'
    echo "set-up: Pillow-SIMD could not be built, the reason is in $simd_log; everything works without it"
fi
"$bin/python" -c 'import PIL; print("set-up: images are decoded by", "Pillow-SIMD" if PIL.__version__.count(".post") else "Pillow", PIL.__version__)'
