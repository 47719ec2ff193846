"""The codecs, one a file, and the table of them; a new one is a file and an entry here."""

from collections.abc import Mapping
from typing import Any

from ferdata.errors import OptionError
from ferdata.format.codecs.codec import BodyDecoder, BodyEncoder, Codec
from ferdata.format.codecs.compact import Compact
from ferdata.format.codecs.jpeg import Jpeg
from ferdata.format.codecs.raw import Raw
from ferdata.format.codecs.zstd import Zstd

__all__ = ["CODECS", "BodyDecoder", "BodyEncoder", "Codec", "codec_from_json", "make_codec"]

CODECS: dict[str, Codec] = {codec.name: codec for codec in (Raw(), Zstd(), Compact(), Jpeg())}
"""Every codec by its name, with its default settings."""


def make_codec(name: str, level: int | None = None) -> Codec:
    """Return a codec by its name, at its default level where none is given.

    Example:
        >>> ferdata.make_codec("zstd", level=3).name
        'zstd'

    Raises:
        OptionError: If there is no such codec, or it has no such level.
    """
    if name not in CODECS:
        raise OptionError(f"codec: {name!r} found, expected one of {', '.join(CODECS)}")
    record = CODECS[name].to_json()
    if level is not None and record["level"] is None:
        raise OptionError(f"level: {level} found, but codec {name} has none, expected codec=zstd with it")
    return CODECS[name] if level is None else codec_from_json(record | {"level": level})


def codec_from_json(record: Mapping[str, Any]) -> Codec:
    """Return the codec that an index describes.

    Raises:
        OptionError: If its settings are not ones of this codec.
    """
    return CODECS[record["name"]].from_json(record)
