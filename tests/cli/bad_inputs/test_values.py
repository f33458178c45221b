"""Types and ranges of single options, and options that contradict each other."""

from __future__ import annotations

from typing import Any

import pytest

ROWS: dict[str, tuple[Any, ...]] = {
    "epochs-0": ("train --epochs 0", "epochs must be at least 1", "0"),
    "epochs-negative": ("train --epochs -1", "epochs must be at least 1", "-1"),
    "epochs-word": ("train --epochs x", "--epochs must be a whole number", "x"),
    "epochs-of-5000-digits": (f"train --epochs {'9' * 5000}", "--epochs is a number of too many digits"),
    "seed-2**70": (f"train --seed {2**70}", "seed must be at most 9,223,372,036,854,775,807"),
    "stage-99": ("distill --method fitnet:stage=99", "no stage 99", "stages 0 to 2"),
    "port-of-explore": ("explore {student_run} --port 99999", "--port must be at most 65,535, got 99,999"),
    "epochs-fraction": ("train --epochs 1.5", "--epochs must be a whole number", "1.5"),
    "batch-size-0": ("train --batch-size 0", "batch_size must be at least 1"),
    "lr-negative": ("train --lr -1", "lr must be a positive number", "-1"),
    "lr-nan": ("train --lr nan", "--lr must be a number", "nan"),
    "lr-infinite": ("train --lr inf", "--lr must be a number", "inf"),
    "weight-decay-infinite": ("train --weight-decay inf", "--weight-decay must be a number"),
    "seed-negative": ("train --seed -1", "seed must be at least 0"),
    "val-fraction-too-large": ("train --val-fraction 1.5", "val_fraction must be at least 0 and below 1", "1.5"),
    "momentum-too-large": ("train --momentum 1", "momentum must be at least 0 and below 1"),
    "alpha-0": ("distill --alpha 0", "alpha must be a positive number", "0"),
    "instances-0": ("distill --instances 0", "instances must be 1 or more", "0"),
    "real-too-large": ("distill --real 1.5", "share of real samples", "1.5"),
    "temperature-0": ("distill --method stkd:temperature=0", "temperature must be a positive number", "0"),
    "temperature-nan": ("distill --method stkd:temperature=nan", "temperature must be a positive number", "nan"),
    "temperature-infinite": ("distill --method stkd:temperature=inf", "temperature must be a positive number", "inf"),
    "temperature-word": ("distill --method stkd:temperature=hot", "temperature", "must be float", "hot"),
    "weight-2": ("distill --method kd:weight=2", "weight must lie between 0", "2"),
    "beta-nan": ("distill --method stkd:beta=nan", "beta must be zero or a positive number", "nan"),
    "method-option-without-value": ("distill --method kd:weight", "has no value", "kd:weight=VALUE"),
    "warmup-too-long": ("train --epochs 2 --warmup-epochs 2", "warmup_epochs (2.0) must be less than epochs (2)"),
    "milestones-beyond-the-end": (
        "train --epochs 2 --schedule multistep --milestones [150]",
        "milestones [150.0]",
        "before the last of 2 epochs",
    ),
    "milestones-falling": ("train --milestones [0.9,0.5]", "milestones must be positive and rising"),
    "milestones-word": ("train --milestones soon", "--milestones must be a list", "soon"),
    "nesterov-without-momentum": ("train --nesterov true --momentum 0", "nesterov needs momentum"),
    "nesterov-word": ("train --nesterov maybe", "--nesterov must be true or false", "maybe"),
    "more-images-than-there-are": ("train --train-images 99999", "train_images is 99999", "ask for fewer"),
    "fewer-images-than-classes": ("train --train-images 3", "10 classes", "at least one image of each"),
    "image-size-4": ("train --image-size 4", "image_size must be at least 8", "4"),
    "coarse-labels-of-digits": ("train --labels coarse", "digits has no coarse labels", "cifar100"),
    "top-0": ("predict {student_run} {picture.png} --top 0", "--top must be at least 1"),
    "top-word": ("predict {student_run} {picture.png} --top all", "--top must be a whole number, got all"),
    "precision-of-bench": ("bench --teacher cnn4 --student cnn2 --precision 7", "--precision must be one of 'auto'"),
    "seeds-of-compare": ("compare --seeds x --out {out}", "--seeds must be a whole number or a list", "got x"),
    "precision-16-on-cpu": ("train --accelerator cpu --precision 16", "precision 16 needs a GPU", "bf16"),
    "devices-99": ("train --accelerator cuda --devices 99", "cannot use accelerator=cuda devices=99"),
    "mix-without-virtual-samples": ("distill --method kd --alpha 2", "alpha set", "add --mix mixup"),
    "mix-none-with-instances": ("distill --mix none --instances 3", "instances set", "--mix mixup"),
    "real-and-beside": ("distill --real 0.5 --beside true", "share of the batch or beside it"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_value(row: tuple[Any, ...], refused: Any) -> None:
    refused(*row)
