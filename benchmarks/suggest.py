"""What students `stkd suggest` proposes for photos of flowers and a limit of 10 ms, with all candidates.

    OMP_NUM_THREADS=1 python benchmarks/suggest.py --photos FOLDER --result results/suggest.json

FOLDER has the photos, one folder a class. The file is what this command prints, without its words:

    stkd suggest --data folder:FOLDER --image-size 96 --teacher timm/tf_efficientnet_lite2 --latency 10ms --json

Weights are random: nothing is fetched and nothing trained. Two minutes; it measures speed, and wants an idle machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common import write_result

from stkd.core.config import CheckConfig
from stkd.studies.suggest.limits import Limits
from stkd.studies.suggest.suggestion import suggest

SIZE, LATENCY, TEACHER = 96, "10ms", "timm/tf_efficientnet_lite2"


def main() -> None:
    """Time the candidates and write what meets the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    args = parser.parse_args()
    config = CheckConfig(data=f"folder:{args.photos}", image_size=SIZE, teacher=TEACHER, accelerator="cpu")
    found: dict[str, Any] = suggest(config, Limits.of(LATENCY)).as_dict()
    del found["environment"]["command"]
    write_result(
        args.result,
        {
            "what": f"students for photos of {SIZE} pixels and a limit of {LATENCY} an image: what candidates cost in "
            "PyTorch, and the most accurate on ImageNet that meet it",
            "command": "OMP_NUM_THREADS=1 python benchmarks/suggest.py --photos FOLDER --result results/suggest.json",
            **found,
            "data": "folder:FOLDER",
        },
    )


if __name__ == "__main__":
    main()
