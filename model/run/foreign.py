"""What a file is that no run of ferdata wrote. In: its first bytes, or its content. Out: words. Reads no pickles."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["SAFETENSORS", "describe_file", "describe_record"]

SAFETENSORS = "a safetensors file"

_MAGIC = {
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x1f\x8b": "a file compressed by gzip",
    b"\x28\xb5\x2f\xfd": "a file compressed by zstd",
    b"GGUF": "a GGUF file",
    b"\x93NUMPY": "a NumPy array",
    b"\x80": "a bare pickle, as torch before 1.6 and other programs write",
    b"version https://git-lfs": "a Git LFS pointer, not the file it stands for (git lfs pull fetches that)",
}


def describe_file(path: Path) -> str | None:
    """Return what a file is, or None if it may be one of torch's archives, whole or damaged."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "an empty file"
    if head.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            return "a TorchScript module"
        return (
            None
            if any(name.split("/", 1)[-1] == "data.pkl" for name in names)
            else f"a zip archive of something else ({names[0][:60]!r} in it)"
        )
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return SAFETENSORS
    return next((text for magic, text in _MAGIC.items() if head.startswith(magic)), None)


def describe_record(record: Any) -> str:
    """Return what was in an archive of torch's that no run of ferdata wrote."""
    if not isinstance(record, Mapping):
        return f"a {type(record).__name__}"
    if any(str(name).startswith("pytorch-lightning") for name in record):
        return "a checkpoint of Lightning"
    tensors = [name for name, value in record.items() if isinstance(value, torch.Tensor)]
    if tensors and len(tensors) == len(record):
        return f"bare weights of another program's network ({len(tensors)} tensors, such as {tensors[0]})"
    names = ", ".join(sorted(map(str, record))[:6]) or "nothing"
    return f"a checkpoint of another program (with {names})"
