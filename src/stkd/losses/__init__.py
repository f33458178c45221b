"""Losses: pure functions from tensors to a scalar, one file per paper.

    cross_entropy                                                    f(logits, labels)
    kd  stkd  dkd  nkd  dist  mlkd_batch  mlkd_class                 f(student_logits, teacher_logits, [labels])
    inter_instance  reverse_kl  js  mse  cosine  rld  ldrld  skd_direction
    fitnet  at  sp  cc  rkd  pkt  ab  ft  fsp  nst  reviewkd  simkd  f(student_features, teacher_features)
    vid(..., variance=)  ofd(..., margin=)  srrl(..., student_logits=, teacher_logits=)
    crd(student_scores, teacher_scores, num_samples=)

What a loss needs beside tensors (regressors, memories, a learned temperature) is an nn.Module in the same file.
Call them outside autocast: half precision comes in, float32 is what they compute in.

This is the index of the public losses. A new one works without a line here: import it from its own file.
"""

from __future__ import annotations

from .ab import ab
from .at import at
from .cc import cc
from .crd import crd
from .cross_entropy import cross_entropy
from .dist import dist
from .divergences import cosine, js, mse, reverse_kl
from .dkd import dkd
from .fitnet import fitnet
from .fsp import fsp
from .ft import ft
from .inter_instance import inter_instance
from .kd import kd
from .ldrld import ldrld
from .mlkd import mlkd_batch, mlkd_class, mlkd_masks
from .nkd import nkd
from .nst import nst
from .ofd import ofd
from .pkt import pkt
from .reviewkd import reviewkd
from .rkd import rkd
from .rld import rld
from .simkd import simkd
from .skd import skd_direction
from .sp import sp
from .srrl import srrl
from .stkd import stkd
from .vid import vid

__all__ = [
    "ab",
    "at",
    "cc",
    "cosine",
    "crd",
    "cross_entropy",
    "dist",
    "dkd",
    "fitnet",
    "fsp",
    "ft",
    "inter_instance",
    "js",
    "kd",
    "ldrld",
    "mlkd_batch",
    "mlkd_class",
    "mlkd_masks",
    "mse",
    "nkd",
    "nst",
    "ofd",
    "pkt",
    "reverse_kl",
    "reviewkd",
    "rkd",
    "rld",
    "simkd",
    "skd_direction",
    "sp",
    "srrl",
    "stkd",
    "vid",
]
