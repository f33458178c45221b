"""Distil in Lightning: trainer.fit(Distilled(*stkd.load("runs/teacher"), student, mean, std), loader, val_loader)

The loaders give images scaled to 0..1, not normalised, and labels in the order of the teacher's classes.
"""

import lightning as L
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

import stkd


class Distilled(L.LightningModule):
    def __init__(self, teacher, info, student, mean, std):
        super().__init__()
        self.student, self.num_classes = student, len(info.classes)
        self.as_student, self.as_teacher = v2.Normalize(mean, std), v2.Normalize(info.mean, info.std)
        self.teacher = (teacher.requires_grad_(False),)  # in a tuple: not in checkpoints, optimizer, DDP, train()

    def forward(self, images):
        return self.student(self.as_student(images))

    def on_fit_start(self):
        self.teacher[0].to(self.device)

    def training_step(self, batch, step):
        key = (self.current_epoch, step, self.global_rank)  # other samples in every step and process
        images, targets = stkd.virtual_samples(*batch, self.num_classes, seed=key)
        answer, taught = self(images), self.teacher[0](self.as_teacher(images))
        return 0.1 * F.cross_entropy(answer, targets) + 0.9 * stkd.losses.stkd(answer, taught, temperature=4.0)

    def validation_step(self, batch, step):
        self.log("val_accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean(), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=0.05)
