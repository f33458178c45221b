"""The 22 networks of the CRD benchmark (Tian et al., ICLR 2020), whose published teachers load without renaming.

Names of parameters, forward pass and initialisation are the benchmark's at 32x32 pixels; global average pooling over
whatever is left makes them work from 8x8 to 64x64 and beyond. Each model declares two tuples of tap names
(see `stkd.models.taps`):

- `feature_taps`: the stem and the end of each stage, the benchmark's features;
- `preact_taps`: the same places before the last activation, where there is one.
"""
