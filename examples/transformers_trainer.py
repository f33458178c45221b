"""Distil in transformers: DistilTrainer(student, args, *stkd.load("runs/teacher"), processing_class=processor, ...)

The collator gives pixel_values scaled to 0..1, not normalised, of the student's size, and labels.
"""

import torch
from torch.nn import functional as F
from torchvision.transforms import v2
from transformers import Trainer

import stkd


class DistilTrainer(Trainer):
    def __init__(self, student, args, teacher, info, **more):
        super().__init__(student, args, **more)
        self.model_accepts_loss_kwargs = False  # our loss is a mean over its batch, also where gradients accumulate
        self.teacher = teacher.to(args.device).requires_grad_(False)  # no part of the model: neither trained nor saved
        assert tuple(student.config.id2label.values()) == info.classes, "other classes, or another order"
        self.num_classes = len(info.classes)
        self.as_teacher = v2.Compose([v2.Resize([info.size, info.size]), v2.Normalize(info.mean, info.std)])
        self.as_student = v2.Normalize(self.processing_class.image_mean, self.processing_class.image_std)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        images, targets = inputs["pixel_values"], inputs["labels"]
        if model.training:
            key = int(torch.randint(2**31, ()))  # of the Trainer's generator, which its checkpoints hold
            images, targets = stkd.virtual_samples(images, targets, self.num_classes, seed=key)
        outputs = model(self.as_student(images))
        loss = F.cross_entropy(outputs.logits, targets)
        if model.training:
            taught = self.teacher(self.as_teacher(images))
            loss = 0.1 * loss + 0.9 * stkd.losses.stkd(outputs.logits, taught, temperature=4.0)
        return (loss, outputs) if return_outputs else loss
