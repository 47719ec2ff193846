#!/bin/sh
# Makes a virtual environment with ferdata in it, and says what it does.
# usage: tools/setup.sh PYTHON VENV
# FERDATA_PILLOW=pillow keeps the Pillow wheel and does not look whether Pillow-SIMD could be built.
set -eu
python=$1
venv=$2
bin=$venv/bin

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "set-up: $("$python" --version 2>&1) found, expected Python 3.11 or newer; run: make PYTHON=/path/to/python3.11 ..." >&2
    exit 1
}
# An environment without pip is one whose making was cut short.
if ! "$bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -c 'import venv, ensurepip' 2>/dev/null || {
        echo "set-up: this Python cannot make virtual environments; install its venv module (Debian: apt install python3-venv)" >&2
        exit 1
    }
    echo "set-up: making $venv"
    "$python" -m venv --clear "$venv"
fi
echo "set-up: installing ferdata and what it needs into $venv (PyTorch is large: the first time takes a few minutes)"
"$bin/python" -m pip install -qq -e '.[test]'
"$bin/python" -c 'from ferdata.format import kernel_notice as notice; print("set-up:", notice()) if notice() else None'

# Pillow-SIMD resizes several times faster than Pillow, but it is a source build: it has only the decoders whose headers
# are here, and images must not be refused on one machine that are read on another. So it takes Pillow's place only where
# it can do all that the Pillow wheel can.
simd=$venv/pillow-simd
log=$venv/pillow-simd.log
headers=$("$bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
missing=
need() { # package, what the compiler must accept
    printf '%s\n' "$2" | ${CC:-cc} -E -x c -I "$headers" - >/dev/null 2>&1 || missing="$missing $1"
}
look_for_headers() {
    need gcc ''
    need python3-dev '#include <Python.h>'
    need zlib1g-dev '#include <zlib.h>'
    need libjpeg-dev '#include <stdio.h>
#include <jpeglib.h>'
    need libtiff-dev '#include <tiffio.h>'
    need libwebp-dev '#include <webp/decode.h>'
    need libopenjp2-7-dev '#if !__has_include(<openjpeg-2.5/openjpeg.h>) && !__has_include(<openjpeg.h>)
#error
#endif'
    need 'libavif-dev (1.0 or newer)' '#include <avif/avif.h>
#if AVIF_VERSION < 1000000
#error
#endif'
    need libfreetype-dev '#if !__has_include(<freetype2/ft2build.h>) && !__has_include(<ft2build.h>)
#error
#endif'
    need liblcms2-dev '#include <lcms2.h>'
}
abilities='from PIL import features
for name in ("jpg", "zlib", "libtiff", "webp", "jpg_2000", "avif", "freetype2", "littlecms2", "libjpeg_turbo"):
    if features.check(name): print(name)'
build_simd() {
    case $(uname -m) in x86_64) grep -qw avx2 /proc/cpuinfo 2>/dev/null && export CC="${CC:-cc} -mavx2" ;; esac
    rm -rf "$simd/tried"
    "$bin/python" -m pip wheel -q --no-deps --no-binary :all: -w "$simd" pillow-simd &&
        "$bin/python" -m pip install -q --no-deps --target "$simd/tried" "$simd"/*.whl || return 1
    "$bin/python" -c "$abilities" >"$simd/wanted"
    PYTHONPATH=$simd/tried "$bin/python" -W error -c "$abilities" >"$simd/found" || return 1
    grep -vxFf "$simd/found" "$simd/wanted" >"$simd/lacking" && {
        echo "it would lack: $(tr '\n' ' ' <"$simd/lacking")"
        return 1
    }
    "$bin/python" -m pip uninstall -q -y pillow &&
        "$bin/python" -m pip install -q --no-deps --force-reinstall "$simd"/*.whl && return 0
    "$bin/python" -m pip uninstall -q -y pillow-simd
    "$bin/python" -m pip install -q --force-reinstall --no-deps pillow
    return 1
}
if "$bin/python" -m pip show -qq pillow-simd 2>/dev/null; then # of an earlier set-up, under other conditions
    "$bin/python" -m pip uninstall -qq -y pillow-simd
    "$bin/python" -m pip install -qq --force-reinstall --no-deps pillow
fi
if [ "${FERDATA_PILLOW:-simd}" = pillow ]; then
    echo "set-up: Pillow-SIMD not tried, because FERDATA_PILLOW=pillow"
elif look_for_headers && [ -n "$missing" ]; then
    echo "set-up: Pillow stays: Pillow-SIMD, which resizes faster, could not read every kind of image here. Debian's packages that would change that:$missing"
elif echo "set-up: building Pillow-SIMD" && mkdir -p "$simd" && build_simd >"$log" 2>&1; then
    :
else
    echo "set-up: Pillow stays: Pillow-SIMD could not be built with all that Pillow can do; the reason is in $log"
fi
"$bin/python" -c 'import PIL; print("set-up: images are decoded by", "Pillow-SIMD" if PIL.__version__.count(".post") else "Pillow", PIL.__version__)'
