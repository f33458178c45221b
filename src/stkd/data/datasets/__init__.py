"""The data sets that stkd can open, one file each; what several of them share lies a folder above."""
