"""Generate the `edgepb` package from the .proto files, and what the catalogue of actions makes, or check both.

python proto/generate.py           # write proto/edgepb
python proto/generate.py --check   # exit 1 and name the files when it is out of date
"""

import argparse
import filecmp
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from actions import made
from grpc_tools import protoc

ROOT = Path(__file__).parent
PACKAGE = ROOT / "edgepb"


def generate(out: Path) -> None:
    """Write the package for every .proto file under `proto/` into the folder `out`."""
    sources = sorted(p.relative_to(ROOT) for p in ROOT.glob("*/v*/*.proto"))
    arguments = ["protoc", f"-I{files('grpc_tools') / '_proto'}", f"-Iedgepb={ROOT}"]
    arguments += [f"--python_out={out}", f"--pyi_out={out}"]
    if protoc.main(arguments + [f"edgepb/{source.as_posix()}" for source in sources]) != 0:
        raise SystemExit("protoc failed; see its message above")
    for folder in {out / "edgepb" / s for source in sources for s in source.parents}:
        (folder / "__init__.py").touch()
    (out / "edgepb" / "py.typed").touch()


def differences(fresh: Path) -> list[str]:
    """Names, relative to the package, of files that differ, are missing or should not be there."""
    names = {
        p.relative_to(base).as_posix() for base in (fresh, PACKAGE) for p in base.rglob("*.py*") if p.suffix != ".pyc"
    }
    return sorted(
        n
        for n in names
        if not ((fresh / n).exists() and (PACKAGE / n).exists() and filecmp.cmp(fresh / n, PACKAGE / n, shallow=False))
    )


def main() -> None:
    """Generate in place, or compare with what is committed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    if not parser.parse_args().check:
        for file, text in made().items():
            file.write_text(text)
        generate(ROOT)
        return
    stale = [str(file.relative_to(ROOT.parent)) for file, text in made().items() if file.read_text() != text]
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale += differences(Path(folder) / "edgepb")
    if stale:
        sys.exit("Generated code is out of date; run `make proto` and commit: " + ", ".join(stale))


if __name__ == "__main__":
    main()
