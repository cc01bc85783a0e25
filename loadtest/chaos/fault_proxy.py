"""The fault proxy as a process.

    python -m loadtest.chaos.fault_proxy CONTROL_PORT SEED PORT=TARGET_PORT…

Commands, one JSON object a line on the control port: `{"gate": 0, "kind": "latency", "delay_s": 2.0}` sets the fault of
a gate, numbered as on the command line, and answers with its counts; `{"gate": 0}` only answers.
"""

import sys
from collections.abc import Mapping

import uvloop

from loadtest.chaos.control import Command, serve_control
from loadtest.chaos.faults import Fault, fault_from
from loadtest.chaos.gate import Gate


async def serve(control_port: int, seed: int, ports: list[tuple[int, int]]) -> None:
    """Open every gate and serve until ended."""
    gates = [Gate(port, ("127.0.0.1", target), seed + number) for number, (port, target) in enumerate(ports)]
    for gate in gates:
        await gate.set(Fault())

    async def handle(command: Command) -> Mapping[str, object]:
        rest = dict(command)
        gate = gates[int(str(rest.pop("gate")))]
        if rest:
            await gate.set(fault_from(rest))
        return gate.counts()

    control = await serve_control(control_port, handle)
    await control.serve_forever()


def main() -> None:
    """Run as the command line says."""
    control_port, seed, *pairs = sys.argv[1:]
    ports = [(int(port), int(target)) for port, _, target in (pair.partition("=") for pair in pairs)]
    uvloop.run(serve(int(control_port), int(seed), ports))


if __name__ == "__main__":
    main()
