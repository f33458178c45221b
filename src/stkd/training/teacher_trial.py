"""Which engine runs a teacher fastest, by trial; a lower precision has to leave its answers nearly as they are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..core.errors import StkdError
from ..core.fabric import Fabric
from ..data.loader import TrainLoader
from ..models.compilation import Execution
from ..teachers import LiveTeacher
from ..teachers.engines import Nearness, Runner, TeacherEngine, make_runner, nearness
from ..teachers.openvino import Engine
from .stopwatch import Timer

__all__ = ["FASTER", "TeacherTrial", "Tried"]

FASTER = 1.1
"""How many times as fast as the plain engine another one must be to replace it."""

_INT8_PAYS = 4.0, 60.0
_COMPILED_PAYS = {"cpu": (1.15, 60.0), "cuda": (1.3, 60.0)}
"""Usual speed beside the plain engine (int8: float32 by torch), and seconds until it is made: estimates, which decide
what is worth a trial, not what is taken."""
_OPENVINO_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tried:
    """What came of a trial.

    Attributes:
        engine: The winner.
        runner: It, ready.
        seconds: Of a batch, by engine.
        checks: How near those in lower precisions were that came first.
    """

    engine: TeacherEngine
    runner: Runner
    seconds: dict[TeacherEngine, float]
    checks: dict[TeacherEngine, Nearness]


@dataclass
class TeacherTrial:
    """A trial of the engines of one teacher.

    Args:
        teacher: On its device.
        loader, fabric, epochs: Of the run.
        images: A batch, as the student sees it.
        steps: Of the run.
        temperature: Of the check of lower precisions.
        between: Called before each pass: what the student does in a step.
        timer: Says how long passes take.
        random_weights: Weights that tell nothing about nearness: int8 is left out, bf16 not checked.
    """

    teacher: LiveTeacher
    loader: TrainLoader
    fabric: Fabric
    epochs: int
    images: Tensor
    steps: int
    temperature: float
    between: Callable[[], object] | None
    timer: Timer
    random_weights: bool = False
    _made: dict[TeacherEngine, Runner] = field(default_factory=dict)

    def run(self, plain: TeacherEngine, others: Sequence[TeacherEngine]) -> Tried:
        """Time the engines and return the best: the plain one unless another is faster by 10 % and near enough.

        Args:
            plain: Runs the teacher if nothing else does.
            others: What may run it instead.

        Raises:
            StkdError: The plain engine cannot be made.
        """
        # of OpenVINO's engines the last made has to be freed first, so that the dearest, which is kept, is made first
        costly = [engine for engine in others if _setup(engine) > _OPENVINO_SECONDS]
        seconds = self._timed([plain, *(engine for engine in others if engine not in costly)], plain)
        best = min(seconds, key=seconds.__getitem__)
        worth = [engine for engine in costly if self._worth(engine, plain, seconds, best)]
        if worth:
            self._free()
            worth.sort(key=lambda engine: engine.library != "openvino")
            seconds |= self._timed([*worth, *dict.fromkeys((best, plain))], plain)
        winner, checks = plain, {}
        for engine in self._ranking(plain, seconds):
            self._free(but=engine)
            if engine.precision not in ("bf16", "int8") or engine.precision == plain.precision or self.random_weights:
                winner = engine
                break
            checks[engine] = nearness(self.teacher, self._runner(engine), self.loader, self.epochs, self.temperature)
            if checks[engine].enough:
                winner = engine
                break
            _log.info("the teacher in %s is too far from itself: %s", engine, checks[engine])
        self._free(but=winner)
        return Tried(winner, self._runner(winner), seconds, checks)

    def _timed(self, engines: Sequence[TeacherEngine], plain: TeacherEngine) -> dict[TeacherEngine, float]:
        """Seconds of a batch by each that can be made."""
        images = self.teacher.preprocess(self.images)
        calls = {}
        for engine in engines:
            try:
                calls[str(engine)] = _Call(self._runner(engine), images)
            except StkdError as error:
                if engine == plain:
                    raise
                _log.warning("%s", error)
        found = self.timer(calls, self.fabric.device, self.between)
        return {engine: found[str(engine)] for engine in engines if str(engine) in found}

    def _worth(
        self, engine: TeacherEngine, plain: TeacherEngine, seconds: dict[TeacherEngine, float], best: TeacherEngine
    ) -> bool:
        """Whether at its usual speed it would win back the time until it is made."""
        if engine.precision == "int8":
            usual, cost = _INT8_PAYS
            return (seconds[best] - seconds[plain] / usual) * self.steps > cost
        eager = seconds.get(TeacherEngine("torch", engine.precision))
        if eager is None or self.fabric.device.type not in _COMPILED_PAYS:
            return False
        usual, cost = _COMPILED_PAYS[self.fabric.device.type]
        return (seconds[best] - eager / usual) * self.steps > cost

    def _ranking(self, plain: TeacherEngine, seconds: dict[TeacherEngine, float]) -> Iterator[TeacherEngine]:
        """Those that may win, the one with which the run would be the shortest first; the plain one ends them."""
        faster = [engine for engine in seconds if engine != plain and seconds[engine] * FASTER <= seconds[plain]]
        whole = {engine: seconds[engine] * self.steps + _setup(engine) for engine in [*faster, plain]}
        yield from sorted((e for e in faster if whole[e] < whole[plain]), key=whole.__getitem__)
        yield plain

    def _runner(self, engine: TeacherEngine) -> Runner:
        if engine not in self._made:
            self._made[engine] = make_runner(self.teacher, engine, self.loader, self.epochs, self.fabric)
        return self._made[engine]

    def _free(self, but: TeacherEngine | None = None) -> None:
        """Free the engines that were made, the last one first; one stays where no older one has to be freed."""
        openvino = [engine for engine, runner in self._made.items() if isinstance(runner, Engine)]
        stays = openvino[0] if openvino and openvino[0] == but else None
        for engine in reversed(openvino):
            if engine != stays:
                runner = self._made.pop(engine)
                assert isinstance(runner, Engine)
                runner.close()


@dataclass(frozen=True)
class _Call:
    """A pass of a teacher."""

    runner: Runner
    images: Tensor

    def __call__(self) -> Tensor:
        return self.runner(self.images)


def _setup(engine: TeacherEngine) -> float:
    """Seconds until it is made, about."""
    if engine.precision == "int8":
        return _INT8_PAYS[1]
    compiled: Execution = "compiled"
    if engine.execution == compiled:
        return _COMPILED_PAYS["cpu"][1]
    return _OPENVINO_SECONDS if engine.library == "openvino" else 0.0
