"""The tests of the JavaScript library, a test here for each file of theirs."""

import re

import pytest

from tests.passport_js.node import PACKAGE, node, run

FILES = sorted((PACKAGE / "test").glob("*.test.js"), key=lambda path: path.name)
COUNT = re.compile(r"^# (tests|pass|skipped) (\d+)$", re.MULTILINE)


@pytest.mark.parametrize("file", [file.name for file in FILES])
def test_the_javascript_tests_of_a_file_pass(file: str) -> None:
    said = run(node(), "--test", "--test-reporter=tap", f"test/{file}")
    counts = {name: int(number) for name, number in COUNT.findall(said)}
    if counts["skipped"]:
        reason = re.search(r"# SKIP (.+)$", said, re.MULTILINE)
        pytest.skip(f"{counts['skipped']} of {counts['tests']} tests: {reason[1] if reason else 'no reason'}")
    assert counts["tests"] == counts["pass"] > 0


def test_there_are_tests() -> None:
    assert {"express.test.js", "introspector.test.js", "wire.test.js"} <= {file.name for file in FILES}
