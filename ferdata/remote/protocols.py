"""What each kind of address is asked for with, so that failures are waited out in one place, and connections suffice.

In: a URL. Out: options for its fsspec file system. Libraries that retry by themselves are told not to.
"""

from typing import Any

__all__ = ["HTTP", "STALL_SECONDS", "another", "reading_options"]

HTTP = ("http://", "https://")
_S3 = ("s3://", "s3a://")

STALL_SECONDS = 8.0
"""An answer of which no byte arrives for this long has failed."""
_CONNECTIONS = 64
"""Most connections to a bucket that are open at once; botocore's own bound is 10."""


def reading_options(url: str, configured: dict[str, Any]) -> dict[str, Any]:
    """Return options for whatever reads an address: what stalls fails after seconds; what is long may take its time.

    Args:
        url: The address.
        configured: What the user's configuration of fsspec says of its protocol; it has the last word.
    """
    if url.startswith(HTTP):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=STALL_SECONDS, sock_read=STALL_SECONDS)
        return {"timeout": timeout, **configured}
    if url.startswith(_S3):
        ours = {
            "connect_timeout": STALL_SECONDS,
            "read_timeout": STALL_SECONDS,
            "retries": {"max_attempts": 0},
            "max_pool_connections": _CONNECTIONS,
        }
        return {"config_kwargs": ours | configured.get("config_kwargs", {})}
    return {}


def another(fs: Any) -> Any:
    """Return a file system as this one is, which has no connection and no listing yet."""
    return type(fs)(*fs.storage_args, **{**fs.storage_options, "skip_instance_cache": True})
