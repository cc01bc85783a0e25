"""A new configuration for all workers: by a reload inside each, or by a rolling restart, one worker after the other.

A reload has two steps, so that it happens in all workers or in none: each builds what would serve the new
configuration and says so (`prepare`); only when all have, each puts it in its place (`commit`).
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Final

from edge.control.reloadable import unreloadable
from edge.control.snapshot import Snapshot
from edge.supervisor.config import STAYS, Config, Outcome, Result
from edge.supervisor.dial_desk import Adopted, DialDesk
from edge.supervisor.fleet import Fleet
from edge.supervisor.process import WorkerProcess
from edge.supervisor.slot import SlotState
from edge.telemetry.control_channel import Message

ANSWER_S: Final = 15.0


async def reload(fleet: Fleet, snapshot: Snapshot, dials: DialDesk) -> Outcome:
    """Let every worker swap to `snapshot`, with its dials and operators, or none."""
    needs = unreloadable(fleet.config.snapshot, snapshot)
    if needs.edge or needs.workers:
        lines = [f"{', '.join(needs.edge)}: stop the edge and start it"] if needs.edge else []
        lines += [f"{', '.join(needs.workers)}: `edge restart`"] if needs.workers else []
        return Outcome(Result.NEEDS_RESTART, "\n".join(["A reload cannot change", *lines, STAYS]))
    config = fleet.next_config(snapshot)
    serving = {slot.process: slot for slot in fleet.slots if slot.process and slot.state is SlotState.READY}
    answers = await _ask_all(list(serving), config.message("prepare"))
    problems = [
        f"worker {slot.index} refuses it: {problem}"
        for slot, answer in zip(serving.values(), answers, strict=True)
        if (problem := _problem(answer))
    ]
    asked: list[Awaitable[Message | None]] = []

    def commit() -> None:
        fleet.config = config
        message = {"type": "commit", "revision": config.revision, "dials": fleet.crew.dials.message}
        asked.extend(process.ask(message, ANSWER_S) for process in serving)

    adopted = Adopted(problem="\n".join(problems)) if problems else await dials.adopt(snapshot, commit)
    if adopted.problem:
        for process in serving:
            process.send({"type": "discard", "revision": config.revision})
        return Outcome(Result.REFUSED, f"{adopted.problem}\n{STAYS}")
    for (process, slot), answer in zip(serving.items(), await asyncio.gather(*asked), strict=True):
        if not _problem(answer):
            process.config = slot.config = config
    return _with(adopted, await _move_the_others(fleet, config))


async def _move_the_others(fleet: Fleet, config: Config) -> Outcome:
    """Replace workers that have not come along: from the commit on there is no way back for the others."""
    left = []
    for slot in fleet.slots:
        if slot.config is not config and (problem := await slot.move_to(config)):
            slot.config = config  # whoever follows this one serves it
            left.append(problem)
    if left:
        served = f"served by {len(fleet.slots) - len(left)} of {len(fleet.slots)} workers"
        text = f"configuration {_name(config)} is accepted, with its dials and operators, and {served}: reload again"
        return Outcome(Result.WORKER_REFUSED, "\n".join([*left, text]))
    return _applied(fleet, config, f"configuration {_name(config)} is served by all workers")


async def restart(fleet: Fleet, snapshot: Snapshot, dials: DialDesk) -> Outcome:
    """Replace one worker process after the other, the next one only once the new one serves; then turn the dials.

    All workers decide by the same dials, so those of `snapshot` count when nobody can go back any more.
    """
    needs = unreloadable(fleet.config.snapshot, snapshot).edge
    if needs:
        text = f"A restart of the workers cannot change {', '.join(needs)}: stop the edge and start it"
        return Outcome(Result.NEEDS_RESTART, f"{text}\n{STAYS}")
    before, config = fleet.config, fleet.next_config(snapshot)
    fleet.config = config  # for the process that stands by
    for done, slot in enumerate(fleet.slots):
        problem = await slot.move_to(config)
        if problem:
            fleet.config = before
            left = f"{done} of {len(fleet.slots)} workers were replaced; the others go on as they were"
            left += ", and so do the dials and operators"
            return Outcome(Result.WORKER_REFUSED, f"{problem}\n{left}")
    text = f"all workers were replaced; they serve configuration {_name(config)}"
    adopted = await dials.adopt(snapshot)
    if adopted.problem:
        return Outcome(Result.WORKER_REFUSED, f"{text}\n{adopted.problem}")
    return _with(adopted, _applied(fleet, config, text))


def _with(adopted: Adopted, outcome: Outcome) -> Outcome:
    return replace(outcome, text="\n".join([outcome.text, *adopted.lines]))


def _applied(fleet: Fleet, config: Config, text: str) -> Outcome:
    """Return the outcome of a change that nobody refuses: `text`, unless a worker is still to come up with it."""
    starting = [slot.index for slot in fleet.slots if slot.state is not SlotState.READY]
    if starting:
        count = len(fleet.slots)
        lines = [f"configuration {_name(config)} is served by {count - len(starting)} of {count} workers"]
        text = "\n".join([*lines, *(f"worker {index} is being started and will serve it" for index in starting)])
    return Outcome(Result.APPLIED, text)


async def _ask_all(processes: Sequence[WorkerProcess], message: Message) -> list[Message | None]:
    return list(await asyncio.gather(*(process.ask(message, ANSWER_S) for process in processes)))


def _problem(answer: Message | None) -> str:
    return f"it ended, or gave no answer in {ANSWER_S:g} s" if answer is None else str(answer.get("problem", ""))


def _name(config: Config) -> str:
    return f"{config.revision} ({config.snapshot.made_of.hash})"
