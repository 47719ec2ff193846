"""Servers that behave as real ones do on bad days: slow, far away, failing, or gone for a while."""

from ferdata_bench.network.conduct import FAULTS, Conduct, Request
from ferdata_bench.network.proxy import Counts, Proxy

__all__ = ["FAULTS", "Conduct", "Counts", "Proxy", "Request"]
