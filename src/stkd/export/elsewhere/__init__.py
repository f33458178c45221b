"""Formats whose tools do not fit beside this PyTorch: they are written and run in environments of their own."""
