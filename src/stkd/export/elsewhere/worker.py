"""What runs in the environment of a format: it writes a file, or answers with one. It imports neither stkd nor timm.

python worker.py write TOOL PROGRAM CONTRACT FILE   turns a saved torch.export program into FILE
python worker.py run TOOL FILE THREADS              answers arrays that come on stdin; each message has its length first
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

__all__ = ["receive", "send"]

_LENGTH = struct.Struct("<Q")
_SECONDS = struct.Struct("<d")

Answering = tuple[dict[str, Any], Callable[[Any], Any]]


def send(stream: BinaryIO, content: bytes) -> None:
    """Write a message."""
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: BinaryIO) -> bytes | None:
    """Read a message; None at the end."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    content = stream.read(_LENGTH.unpack(length)[0])
    return content if len(content) == _LENGTH.unpack(length)[0] else None


def write_executorch(program: Any, contract: str, file: Path) -> None:
    """A .pte for XNNPACK and one image; the contract is what its method "stkd" returns."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    # its memory is planned for the largest batch, so one for many images would take as much for one
    for_one = torch.export.export(program.module(), (_one_image(program),))
    lowered = to_edge_transform_and_lower(
        for_one, partitioner=[XnnpackPartitioner()], constant_methods={"stkd": contract}
    )
    file.write_bytes(lowered.to_executorch().buffer)


def open_executorch(file: Path, threads: int) -> Answering:
    """A .pte, and what it says of itself."""
    from importlib.metadata import version

    import torch
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(threads)
    program = Runtime.get().load_program(file)
    said = program.load_method("stkd").execute([])[0] if "stkd" in program.method_names else None
    method = program.load_method("forward")
    shapes = [
        list(one.sizes()) for one in (method.metadata.input_tensor_meta(0), method.metadata.output_tensor_meta(0))
    ]

    def run(image: Any) -> Any:
        return method.execute([torch.from_numpy(image)])[0].numpy()

    return _about(said, f"ExecuTorch {version('executorch')}", *shapes), run


def write_litert(program: Any, contract: str, file: Path) -> None:
    """A .tflite for one image; the contract is a buffer of its metadata."""
    import flatbuffers
    import litert_torch
    import torch
    from ai_edge_litert import schema_py_generated as schema

    class OneImage(torch.nn.Module):
        """The program, which cannot be put into evaluation mode, since it is in it."""

        def __init__(self) -> None:
            super().__init__()
            self.model = program.module()
            self.training = False

        def forward(self, images: Any) -> Any:
            return self.model(images)

    litert_torch.convert(OneImage(), sample_kwargs={"images": _one_image(program)}).export(str(file))

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.read_bytes()))
    buffer, metadata = schema.BufferT(), schema.MetadataT()
    buffer.data = list(contract.encode())
    metadata.name, metadata.buffer = "stkd", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), metadata]
    builder = flatbuffers.Builder(file.stat().st_size)
    builder.Finish(model.Pack(builder), b"TFL3")
    file.write_bytes(bytes(builder.Output()))


def open_litert(file: Path, threads: int) -> Answering:
    """A .tflite, and what it says of itself."""
    from importlib.metadata import version

    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    content = file.read_bytes()
    model = schema.Model.GetRootAs(content)
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    said = next(
        (model.Buffers(e.Buffer()).DataAsNumpy().tobytes().decode() for e in entries if e.Name() == b"stkd"), None
    )
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(image: Any) -> Any:
        interpreter.set_tensor(taken["index"], image)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    shapes = [[int(length) for length in one["shape"]] for one in (taken, given)]
    return _about(said, f"LiteRT {version('ai-edge-litert')}", *shapes), run


def _one_image(program: Any) -> Any:
    import torch

    name = program.graph_signature.user_inputs[0]
    shape = next(node.meta["val"].shape for node in program.graph.nodes if node.name == name)
    return torch.zeros(1, *(int(length) for length in shape[1:]))


def _about(said: str | None, runtime: str, taken: list[int], given: list[int]) -> dict[str, Any]:
    return {"contract": said, "runtime": runtime, "input": taken[1:], "outputs": given[-1]}


def _write(tool: str, program: str, contract: str, file: str) -> None:
    import torch

    write = {"executorch": write_executorch, "litert": write_litert}[tool]
    write(torch.export.load(program), Path(contract).read_text(encoding="utf-8"), Path(file))


def _run(replies: BinaryIO, tool: str, file: str, threads: str) -> None:
    about, run = {"executorch": open_executorch, "litert": open_litert}[tool](Path(file), int(threads))
    send(replies, json.dumps(about).encode())
    while (content := receive(sys.stdin.buffer)) is not None:
        images = np.load(io.BytesIO(content), allow_pickle=False)
        began = time.perf_counter()
        answer = np.concatenate([run(images[i : i + 1]) for i in range(len(images))])  # both take one at a time
        seconds, packed = time.perf_counter() - began, io.BytesIO()
        np.save(packed, np.ascontiguousarray(answer, np.float32), allow_pickle=False)
        send(replies, _SECONDS.pack(seconds) + packed.getvalue())


def main() -> int:
    """Do what the arguments say; an error is the last line of stderr."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what tools print is not taken for an answer
    try:
        if sys.argv[1] == "write":
            _write(*sys.argv[2:])
        else:
            _run(replies, *sys.argv[2:])
    except Exception as error:  # tools raise many kinds
        print("stkd:", " ".join(f"{type(error).__name__}: {error}".split())[:500], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # runtimes have been seen to crash at the end
