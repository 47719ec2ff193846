"""How samples lie in a shard file: a tar of zstd frames, or a plain tar with a table. Knows nothing of pixels."""

from ferdata.format.container.bodies import BodyJob, MappedBodies
from ferdata.format.container.container import Container, ContainerWriter, OpenShard
from ferdata.format.container.frame_tar import frame_tar
from ferdata.format.container.members import SampleMembers, json_bytes_for
from ferdata.format.container.plain_tar import PLAIN_TAR, checksum
from ferdata.format.container.shard_file import (
    FetchedFile,
    RemoteFile,
    ShardFile,
    open_copy,
    open_shard_file,
    shard_copy,
)
from ferdata.format.container.tar import END_OF_TAR

__all__ = [
    "END_OF_TAR",
    "PLAIN_TAR",
    "BodyJob",
    "Container",
    "ContainerWriter",
    "FetchedFile",
    "MappedBodies",
    "OpenShard",
    "RemoteFile",
    "SampleMembers",
    "ShardFile",
    "checksum",
    "frame_tar",
    "json_bytes_for",
    "open_copy",
    "open_shard_file",
    "shard_copy",
]
