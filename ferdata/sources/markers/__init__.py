"""One function a marker: does this folder hold that layout? Each costs a few listings of small folders."""
