"""Distil in a plain PyTorch loop, on photos in folders: python examples/plain_pytorch.py runs/teacher photos out.pth"""

import sys

import timm
import torch
from torch.nn import functional as F
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import stkd


def distil(run, photos, out, name="mobilenetv3_small_100", epochs=60, batch_size=64):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    teacher, info = stkd.load(run)  # in evaluation mode
    teacher = teacher.to(device).requires_grad_(False)
    pixels = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]  # 0 to 1: they are mixed first, then normalised
    data = ImageFolder(photos, v2.Compose([v2.RandomResizedCrop(info.size), v2.RandomHorizontalFlip(), *pixels]))
    assert tuple(data.classes) == info.classes, "the teacher has other classes, or another order of them"
    loader = torch.utils.data.DataLoader(data, batch_size, shuffle=True, drop_last=True, num_workers=2)
    student = timm.create_model(name, num_classes=len(info.classes)).to(device)
    as_teacher, as_student = v2.Normalize(info.mean, info.std), v2.Normalize([0.5] * 3, [0.5] * 3)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        for step, batch in enumerate(loader):
            mixed, targets = stkd.virtual_samples(*[t.to(device) for t in batch], len(info.classes), seed=(epoch, step))
            answer, taught = student(as_student(mixed)), teacher(as_teacher(mixed))  # of the same virtual samples
            loss = 0.1 * F.cross_entropy(answer, targets) + 0.9 * stkd.losses.stkd(answer, taught, temperature=4.0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    torch.save(student.state_dict(), out)


if __name__ == "__main__":
    distil(*sys.argv[1:])
