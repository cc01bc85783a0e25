"""The TypeScript types, as the compiler sees them, where there is one (`make js-tools`)."""

import json
from pathlib import Path

import pytest

from tests.passport_js.node import PACKAGE, node, run


def compiler() -> Path:
    for directory in (PACKAGE, *PACKAGE.parents):
        found = directory / "node_modules" / "typescript" / "bin" / "tsc"
        if found.exists():
            return found
    pytest.skip("TypeScript is not installed: make js-tools")


def test_the_types_are_sound_and_refuse_misuse(tmp_path: Path) -> None:
    """The file of uses has misuses too, each marked: one that the types let through is an error."""
    options = {
        "strict": True,
        "noEmit": True,
        "skipLibCheck": False,
        "exactOptionalPropertyTypes": True,
        "target": "es2022",
        "lib": ["es2022", "dom"],
        "module": "nodenext",
        "moduleResolution": "nodenext",
        "types": [],
    }
    files = [str(PACKAGE / "test" / "types.ts"), *map(str, sorted((PACKAGE / "src").glob("*.d.ts")))]
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": files}))
    run(node(), str(compiler()), "--project", str(tmp_path))
