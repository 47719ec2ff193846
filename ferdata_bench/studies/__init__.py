"""Questions that were settled by measuring: codecs, shuffling, pre-training, waiting, predictions."""
