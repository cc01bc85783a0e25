"""docs/metrics.md and the log table of docs/operating.md say what the code does."""

import re
from typing import Final

import orjson

from edge.telemetry.catalogue import METRICS
from edge.telemetry.log_line import Ended, LineWriter
from tests.processes import REPOSITORY
from tests.telemetry.exchanges import alike, exchange

METRICS_PAGE: Final = (REPOSITORY / "docs" / "metrics.md").read_text()
OPERATING_PAGE: Final = (REPOSITORY / "docs" / "operating.md").read_text()


def test_every_metric_is_explained_under_a_heading() -> None:
    headings = re.findall(r"^### (.*)$", METRICS_PAGE, re.MULTILINE)
    explained = [name for heading in headings for name in heading.split(", ")]
    assert explained == [metric.name for metric in METRICS]


def test_the_access_log_table_lists_every_key_in_order() -> None:
    made = exchange()
    ended = Ended(made, alike(made), edge_s=0.0, origin_s=0.0, bytes_in=0, bytes_out=0)
    line = LineWriter(b"k" * 32).line(ended)
    rows = re.findall(r"^\| (`.*?`) \| ", OPERATING_PAGE.partition("## Access log")[2], re.MULTILINE)
    listed = [key for row in rows for key in re.findall(r"`(\w+)`", row)]
    assert listed == list(orjson.loads(line))
