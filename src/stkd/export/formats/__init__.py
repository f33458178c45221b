"""The formats, one file each: how a captured model is written, and how such a file is run."""
