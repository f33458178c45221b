"""`stkd serve` under 200 parallel clients for a minute, and what bad requests get.

    python benchmarks/serve_load.py --model RUN-or-FILE --images FOLDER --result results/serve_load.json

Server and clients are two processes on one machine, so that they share its cores. Each client sends an image of the
folder, waits for the answer, and sends the next, over one connection.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
from common import write_result

from stkd.data.decode import image_suffixes
from stkd.runs.environment import environment

PREDICT = "/predict"
MB = 1 << 20


def post(body: bytes, kind: str, host: str = "localhost") -> bytes:
    """A request to /predict as it goes over the wire."""
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def answer_of(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Status and body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))  # type: ignore[index]
    return head[9:12].decode(), body


async def ask(port: int, request: bytes, until: float, seconds: list[float], statuses: Counter[str]) -> None:
    """One client: the request again and again over one connection."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < until:
            began = time.perf_counter()
            writer.write(request)
            await writer.drain()
            status, _ = await answer_of(reader)
            seconds.append(time.perf_counter() - began)
            statuses[status] += 1
        writer.close()
    except (OSError, asyncio.IncompleteReadError) as error:
        statuses[type(error).__name__] += 1


async def load(port: int, images: list[bytes], clients: int, duration: float, process: int) -> dict[str, Any]:
    """All clients at once, while the memory of the server is watched."""
    seconds: list[float] = []
    statuses: Counter[str] = Counter()
    until, watched = time.monotonic() + duration, [memory(process)]
    asking = [ask(port, post(random.choice(images), "image/jpeg"), until, seconds, statuses) for _ in range(clients)]

    async def watch() -> None:
        while True:
            await asyncio.sleep(1)
            watched.append(memory(process))

    watching = asyncio.create_task(watch())
    began = time.monotonic()
    await asyncio.gather(*asking)
    taken = time.monotonic() - began
    watching.cancel()
    percentiles = quantiles(seconds, n=100, method="inclusive")
    return {
        "clients": clients,
        "seconds": round(taken, 1),
        "requests": sum(statuses.values()),
        "statuses": dict(statuses),
        "errors": sum(count for status, count in statuses.items() if status != "200"),
        "requests_per_s": round(len(seconds) / taken, 1),
        "p50_ms": round(1000 * percentiles[49], 1),
        "p99_ms": round(1000 * percentiles[98], 1),
        "largest_memory_mb": max(watched),
    }


def memory(process: int) -> int:
    """Resident memory of a process in MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024  # type: ignore[index]


def bomb() -> bytes:
    """A PNG file that says it has 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(10 * MB)))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def bad_requests(address: str, good: bytes) -> dict[str, dict[str, Any]]:
    """Status and answer of each bad request, and the seconds until it came."""

    def files(*images: bytes) -> dict[str, Any]:
        return {"files": [("image", (f"{i}.jpg", image)) for i, image in enumerate(images)]}

    png = {"Content-Type": "image/png"}
    requests: dict[str, dict[str, Any]] = {
        "no image": {},
        "50 MB": {"content": bytes(50 * MB), "headers": png},
        "150 MB": files(*[bytes(15 * MB)] * 10),
        "PNG of 60,000 x 60,000 pixels": files(bomb()),
        "10,000 images": files(*[good] * 10_000),
        "text": {"content": b"hello", "headers": {"Content-Type": "text/plain"}},
        "half an image": files(good[: len(good) // 2]),
        "one bad image of three": files(good, good[: len(good) // 2], good),
        "foreign host name": {**files(good), "headers": {"Host": "evil.example"}},
    }
    answers = {}
    with httpx.Client(timeout=300) as client:
        for name, request in requests.items():
            began = time.monotonic()
            answer = client.post(address + PREDICT, **request)
            answers[name] = said(answer.status_code, answer.json(), began)
    answers["a body that stops"] = stopped(int(address.rpartition(":")[2]), good)
    return answers


def stopped(port: int, good: bytes) -> dict[str, Any]:
    """The answer to a request whose body stops in the middle."""

    async def send() -> dict[str, Any]:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(good, "image/jpeg")[:-10])
        status, body = await answer_of(reader)
        writer.close()
        return said(int(status), json.loads(body), began)

    return asyncio.run(send())


def said(status: int, answer: Any, began: float) -> dict[str, Any]:
    """A row of the result."""
    rows = answer if isinstance(answer, list) else [answer]
    errors = [row["error"] for row in rows if "error" in row]
    return {"status": status, "error": "; ".join(errors), "seconds": round(time.monotonic() - began, 2)}


def main() -> None:
    """Start the server, load it, send bad requests, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run directory or ONNX file")
    parser.add_argument("--images", type=Path, required=True, help="folder of JPEGs")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--note", default="", help="about the machine")
    parser.add_argument("--result", type=Path, required=True)
    args = parser.parse_args()
    files = sorted(file for file in args.images.rglob("*") if file.suffix.lower() in image_suffixes())
    images = [file.read_bytes() for file in files[:: max(1, len(files) // 1000)]]
    began, busy = time.monotonic(), os.getloadavg()
    command = [sys.executable, "-m", "stkd", "serve", str(args.model), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, contextlib.ExitStack() as stack:
        stack.callback(server.terminate)
        assert server.stdout is not None
        line = re.search(r"http://[\d.]+:(\d+)", server.stdout.readline())
        if line is None:
            raise SystemExit("the server did not start")
        address, start = line[0], time.monotonic() - began
        asyncio.run(load(int(line[1]), images, 4, 2, server.pid))  # it is warm
        at_start = memory(server.pid)
        measured = asyncio.run(load(int(line[1]), images, args.clients, args.seconds, server.pid))
        at_end = memory(server.pid)
        bad = bad_requests(address, images[0])
        health = httpx.get(f"{address}/health", timeout=300).json()
        result = {
            "what": "stkd serve under parallel clients on the same machine, and bad requests afterwards",
            "note": args.note,
            "load_average_before": [round(value, 1) for value in busy],
            "environment": environment(),
            "versions": {name: version(name) for name in ("fastapi", "uvicorn", "onnxruntime", "pillow")},
            "model": {name: health[name] for name in ("model", "size", "runtime")}
            | {"classes": len(health["classes"])},
            "images": {"files": len(images), "mean_bytes": round(sum(map(len, images)) / len(images))},
            "start_s": round(start, 1),
            "load": {**measured, "memory_at_start_mb": at_start, "memory_at_end_mb": at_end},
            "bad_requests": bad,
            "memory_after_bad_requests_mb": memory(server.pid),
        }
    write_result(args.result, result)


if __name__ == "__main__":
    main()
