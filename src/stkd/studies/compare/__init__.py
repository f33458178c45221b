"""Methods x students x data sets x seeds under one budget, in one directory: `stkd compare`."""
