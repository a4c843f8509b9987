"""Data: data sets, the splits and sources that batches come from, preprocessing and augmentation."""
