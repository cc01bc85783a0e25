"""What Locust loads: the user classes, options, what is measured when, and what comes of it.

    locust -f loadtest/locust/locustfile.py --host http://127.0.0.1:8080 --admin http://127.0.0.1:8081

`python -m loadtest.locust`, which `make load` runs, starts a stack and calls Locust so.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtest.locust.checks import TOLERANCE
from loadtest.locust.measuring import DIAL, Measuring
from loadtest.locust.scenarios import SCENARIOS
from loadtest.locust.users import BOARD, TALLY, AndroidPhone, IosPhone, LegacyDevice, Television, WebBrowser

__all__ = ["AndroidPhone", "IosPhone", "LegacyDevice", "Television", "WebBrowser"]

NOT_MET: Final = 3
_log: Final = logging.getLogger("loadtest.locust")
_measuring: list[Measuring] = []


@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="reference", help="what is run")
    parser.add_argument("--admin", default="", help="URL of the edge's admin listener, whose counters are compared")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is left to chance")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds from when all are signed in to measuring")
    parser.add_argument(
        "--measure", type=float, default=0.0, help="seconds of measuring, then it ends; 0: until stopped"
    )
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="points the local share may be off")
    parser.add_argument(
        "--edge-var", default="", include_in_web_ui=False, help="rollout: the edge's --var, for `edge dial`"
    )
    parser.add_argument(
        "--cookie-service", default="", include_in_web_ui=False, help="rollout: URL, for pairs of devices"
    )
    parser.add_argument(
        "--cookie-token", default="", include_in_web_ui=False, help="rollout: file of who may create them"
    )
    parser.add_argument("--figures", default="", include_in_web_ui=False, help="file for the figures as JSON")


@events.init.add_listener
def _begin(environment: Environment, **_: Any) -> None:
    if environment.runner is not None and not isinstance(environment.runner, MasterRunner):
        environment.runner.register_message(DIAL, _told)
    if isinstance(environment.runner, WorkerRunner):
        return
    measuring = Measuring(environment)
    _measuring.append(measuring)
    events.test_start.add_listener(lambda **_: measuring.start())
    events.spawning_complete.add_listener(lambda **_: measuring.everybody_is_here())
    events.test_stopping.add_listener(lambda **_: measuring.close())
    if environment.web_ui is not None:
        events.test_stop.add_listener(lambda **_: measuring.judge_soon())


def _told(environment: Environment, msg: Any, **_: Any) -> None:  # noqa: ARG001
    BOARD.told(*msg.data)


@events.quitting.add_listener
def _end(environment: Environment, **_: Any) -> None:
    for measuring in _measuring:
        if environment.web_ui is None:
            measuring.judge()
        if not measuring.met:
            environment.process_exit_code = NOT_MET
        elif measuring.judged:
            environment.process_exit_code = 0
        figures = environment.parsed_options.figures if environment.parsed_options else ""
        if figures and measuring.judged:
            Path(figures).write_text(json.dumps(measuring.as_json, indent=2) + "\n", encoding="utf-8")


@events.report_to_master.add_listener
def _report(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001
    data["tally"] = TALLY.hand_over()


@events.worker_report.add_listener
def _reported(client_id: str, data: Mapping[str, Any]) -> None:  # noqa: ARG001
    TALLY.add(data.get("tally", {}))
