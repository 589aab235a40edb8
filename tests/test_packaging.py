"""What is installed: locks that pin every byte and name no registry, a wheel that carries all it serves."""

import gzip
import json
import random
import re
import string
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from server import assets

ROOT = Path(__file__).parents[1]
# How each file is served: as it is, and compressed.
FORMS = ("", ".gz", ".br")
NODE = str(Path(sys.executable).with_name("node"))


def _requirements(name: str) -> dict[str, str]:
    """The lines of a pip lock: `name==version` to the rest of its entry."""
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    return dict(entry.split(" ", 1) for entry in entries)


@pytest.mark.parametrize(
    "name",
    ["requirements.lock", "requirements-dev.lock", "bench/peers/chainlit.lock", "bench/peers/litellm.lock"],
)
def test_python_locks_pin_every_file(name: str) -> None:
    """Every requirement has one exact version and SHA-256 hashes; no line is an option or has an address."""
    for pin, rest in _requirements(name).items():
        assert re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", pin), pin
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), pin
        for word in re.sub(r"^ ?;[^\\]*", "", rest).split():
            assert re.fullmatch(r"\\|--hash=sha256:[0-9a-f]{64}", word), (pin, word)


def test_python_locks_agree() -> None:
    """What runs in production is what was tested: the lock of development has the same versions."""
    assert set(_requirements("requirements.lock")) <= set(_requirements("requirements-dev.lock"))


def test_npm_lock_pins_every_file() -> None:
    """Every package has an integrity hash, none an address to download from."""
    packages: dict[str, dict[str, Any]] = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert len(packages) > 5
    for path, package in packages.items():
        assert "resolved" not in package, path
        assert path == "" or package["integrity"].startswith("sha512-"), path


def test_npm_packages_are_exact() -> None:
    """package.json asks for exact versions, and for nothing at run time."""
    package: dict[str, Any] = json.loads((ROOT / "package.json").read_text())
    assert "dependencies" not in package
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in package["devDependencies"].values())


def test_the_wheel_carries_what_is_served(tmp_path: Path) -> None:
    """The wheel has the widget in its three forms, demo pages, vocabularies and migrations, and no test or source."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("frontdesk-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        widget = json.loads(archive.read("server/static/manifest.json"))["widget"]
        plain = archive.read("server/static/widget.js")
        assert gzip.decompress(archive.read("server/static/widget.js.gz")) == plain
        assert _unbrotli(archive.read("server/static/widget.js.br")) == plain
        assert archive.read(f"server/static/{widget['file']}") == plain
        console = json.loads(archive.read("server/static/manifest.json"))["admin"]
        assert {f"server/static/admin/{name}{form}" for name in console["files"] for form in FORMS} <= names
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert b"frontdesk = server.cli:main" in archive.read(entry_points)
    assert len(plain) == widget["raw"] <= 50 * 1024
    assert widget["gzip"] <= 20 * 1024
    assert console["gzip"] <= 150 * 1024
    assert {f"server/migrations/{path.name}" for path in assets.migrations_path().glob("*.sql")} <= names
    assert {f"server/llm/vocabulary/{name}_base.tiktoken" for name in ("cl100k", "o200k")} <= names
    assert {"server/static/demo/index.html", "server/static/demo/pizza/index.html"} <= names
    assert not [
        name
        for name in names
        if name.startswith(("tests/", "bench/", "widget-src/", "admin/")) or "node_modules" in name
    ]


def _unbrotli(packed: bytes) -> bytes:
    """With Node: Python has no brotli of its own."""
    program = "process.stdout.write(require('node:zlib').brotliDecompressSync(require('node:fs').readFileSync(0)))"
    return subprocess.run([NODE, "--eval", program], input=packed, capture_output=True, check=True).stdout


def test_installed_files_are_found(tmp_path: Path) -> None:
    """From an unpacked wheel the migrations and static files are found inside the package, not in a repository."""
    package = tmp_path / "server"
    (package / "migrations").mkdir(parents=True)
    (package / "assets.py").write_text(Path(assets.__file__).read_text())
    (package / "__init__.py").touch()
    program = "from server import assets; print(assets.migrations_path()); print(assets.static_path())"
    printed = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True).splitlines()
    assert printed == [str(package / "migrations"), str(package / "static")]
    assert (assets.migrations_path() / "0001.plans.sql").is_file()


def _build(entry: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Builds one entry with the widget's limits, as the real build does."""
    program = f"""
import {{ build, entries }} from {json.dumps((ROOT / "esbuild.config.js").as_uri())};
await build([{{ ...entries[0], source: {json.dumps(str(entry))} }}], {json.dumps(str(folder))});
"""
    return subprocess.run(
        [NODE, "--input-type=module", "--eval", program], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_a_bundle_over_its_limit_fails(tmp_path: Path) -> None:
    """One byte of promise broken, raw or gzip, is a failed build that writes nothing and prints the sizes."""
    folder = tmp_path / "static"
    repeated = tmp_path / "raw.ts"
    repeated.write_text(f"console.log({'a' * 52_000!r});")
    scattered = tmp_path / "gzip.ts"
    noise = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=45_000))  # 34 KB of information
    scattered.write_text(f"console.log({noise!r});")
    for entry in (repeated, scattered):
        done = _build(entry, folder)
        assert done.returncode != 0
        assert re.search(
            r"widget\.js: [\d.]+ KB raw, [\d.]+ KB gzip.*over the limit of 50\.0 KB raw, 20\.0 KB gzip", done.stderr
        )
        assert not folder.exists()


def test_styles_are_text_and_old_bundles_go(tmp_path: Path) -> None:
    """A CSS import gives minified text; a second build removes the hashed files of the first."""
    folder = tmp_path / "static"
    entry = tmp_path / "index.ts"
    (tmp_path / "x.css").write_text("/* why */\n:host {\n  color: red;\n}\n")
    for number in (1, 2):
        entry.write_text(f"import css from './x.css'; console.log(css, {number});")
        done = _build(entry, folder)
        assert done.returncode == 0, done.stderr
        assert re.match(r"widget\.js: [\d.]+ KB raw, [\d.]+ KB gzip", done.stdout)
    widget = json.loads((folder / "manifest.json").read_text())["widget"]
    assert ":host{color:red}" in (folder / "widget.js").read_text()
    hashed = sorted(
        path.name for path in folder.glob("widget.*.js*") if path.name not in {"widget.js.gz", "widget.js.br"}
    )
    assert hashed == [widget["file"], f"{widget['file']}.br", f"{widget['file']}.gz"]


def _build_console(folder: Path, source: Path, **limits: int) -> "subprocess.CompletedProcess[str]":
    """Builds a module in the place of the console's, with the console's limits unless told."""
    program = f"""
import {{ build, entries }} from {json.dumps((ROOT / "esbuild.config.js").as_uri())};
const found = entries.find(({{ kind }}) => kind === "console");
const changed = {{ source: {json.dumps(str(source))}, limits: {{ ...found.limits, ...{json.dumps(limits)} }} }};
await build([{{ ...found, ...changed, start: "start.ts" }}], {json.dumps(str(folder))});
"""
    return subprocess.run(
        [NODE, "--input-type=module", "--eval", program], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_a_console_over_its_limit_fails(tmp_path: Path) -> None:
    """What its first load weighs is told, and nothing is written."""
    source = tmp_path / "console.ts"
    source.write_text("console.log('a console')")
    done = _build_console(tmp_path / "static", source, gzip=10)
    assert done.returncode != 0
    assert re.search(r"admin: [\d.]+ KB raw, .* at first load: over the limit of 0\.0 KB gzip", done.stderr)
    assert not (tmp_path / "static").exists()


def test_a_console_is_split_and_old_parts_go(tmp_path: Path) -> None:
    """A page that is loaded later is a file of its own and no part of the first load; another build removes it."""
    folder, source, later = tmp_path / "static", tmp_path / "console.ts", tmp_path / "later.ts"
    source.write_text("document.title = 'a'; void import('./later.ts').then(({ page }) => page());")
    names = []
    for text in ("one", "two"):
        later.write_text(f"export const page = () => console.log('{text}', '{'x' * 9000}');")
        done = _build_console(folder, source)
        assert done.returncode == 0, done.stderr
        console = json.loads((folder / "manifest.json").read_text())["admin"]
        (name,) = [each for each in console["files"] if each.startswith("later.")]
        assert text in (folder / "admin" / name).read_text()
        assert console["preload"] == [] and console["raw"] < 1000
        names.append(name)
    assert names[0] != names[1] and not list((folder / "admin").glob(f"{names[0]}*"))
    assert {path.name for path in (folder / "admin").iterdir()} == {
        f"{name}{form}" for name in console["files"] for form in FORMS
    }
