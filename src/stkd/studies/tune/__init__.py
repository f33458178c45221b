"""Choosing hyper-parameters on validation images: `stkd tune`. The test images are not even loaded for a trial."""
