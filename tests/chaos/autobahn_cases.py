# ruff: noqa: N803, N815  # the cases are called by the names that they have
"""The cases of the Autobahn test suite, which are written for Python 2.7, made to run here.

The package is fetched as it is. Its case classes say what to send and what to expect; they are used unchanged but for
the handful of things that Python 3 says in another way. A byte string of theirs is a `str` of the same code points
here. What they drive, the protocol, is `autobahn_client`.
"""

import importlib
import re
import subprocess
import sys
import tarfile
import types
from pathlib import Path
from typing import Any, Protocol

RELEASE = "autobahntestsuite==25.10.1"
# Compression is off here, by design; 9.9.1 is not run by the suite itself.
_LEFT_OUT = {"case12_x_x", "case9_9_1", "case", "__init__"}
_NAME = re.compile(r"Case(\d+)_(\d+)(?:_(\d+))?$")

_TRANSLATIONS = [
    (re.compile(r"^(\s*)print\b.*$", re.MULTILINE), r"\1pass"),
    (re.compile(r"\bxrange\b"), "range"),
    (re.compile(r"\(object, Case, \)"), "(Case, )"),
    (re.compile(r"\.tostring\(\)"), ".tobytes().decode('latin-1')"),
    (re.compile(r"\.encode\((['\"])utf-?8\1\)"), ".encode('utf8').decode('latin-1')"),
    (re.compile(r"binascii\.b2a_hex\("), "_hex("),
    (re.compile(r" / self\.p\.autoFragmentSize"), " // self.p.autoFragmentSize"),
    # Pickles of equal lists may differ.
    (re.compile(r"pickle\.dumps\((\w+)\)"), r"\1"),
]
_HEAD = "_hex = lambda text: text.encode('latin-1').hex()\n"


class Case(Protocol):
    """What a case has when it is over. `behavior` and `behaviorClose` are verdicts in the suite's words."""

    behavior: str
    behaviorClose: str
    result: str
    resultClose: str
    p: Any

    def onOpen(self) -> None: ...
    def onMessage(self, msg: str, binary: bool) -> None: ...
    def onPing(self, payload: str) -> None: ...
    def onPong(self, payload: str) -> None: ...
    def onConnectionLost(self, failedByMe: bool) -> None: ...


def fetch(into: Path) -> Path:
    """The folder of the cases, from the package index. Raises RuntimeError with what pip says."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    done = subprocess.run([*command, "--dest", str(into), RELEASE], capture_output=True, text=True, check=False)
    archives = list(into.glob("autobahntestsuite-*.tar.gz"))
    if not archives:
        raise RuntimeError(f"{RELEASE} cannot be fetched: {(done.stderr or done.stdout).strip()[-400:]}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(into, filter="data")
    return next(into.glob("autobahntestsuite-*/autobahntestsuite/case"))


def load(folder: Path, into: Path) -> dict[tuple[int, ...], type[Case]]:
    """The case classes by number, translated into `into`, which is put on the path of imports."""
    for module in folder.glob("case*.py"):
        # Each byte of theirs becomes a code point of ours, also of what they wrote in UTF-8.
        text = module.read_bytes().decode("latin-1")
        for pattern, replacement in _TRANSLATIONS:
            text = pattern.sub(replacement, text)
        (into / module.name).write_text(_HEAD + text.replace("coding=utf-8", ""), "utf-8")
    _stand_ins()
    sys.path.insert(0, str(into))
    cases: dict[tuple[int, ...], type[Case]] = {}
    for name in sorted(module.stem for module in folder.glob("case*.py")):
        if name not in _LEFT_OUT:
            for value in vars(importlib.import_module(name)).values():
                for each in value if isinstance(value, list) else [value]:
                    if isinstance(each, type) and (number := _NAME.match(each.__name__)):
                        cases[tuple(int(part) for part in number.groups() if part)] = each
    return dict(sorted(cases.items()))


class WebSocketProtocol:
    """The constants that cases use of Autobahn's own class."""

    STATE_CLOSED, STATE_CONNECTING, STATE_CLOSING, STATE_OPEN = range(4)
    MESSAGE_TYPE_TEXT, MESSAGE_TYPE_BINARY = 1, 2
    CLOSE_STATUS_CODE_NORMAL, CLOSE_STATUS_CODE_GOING_AWAY, CLOSE_STATUS_CODE_PROTOCOL_ERROR = 1000, 1001, 1002
    CLOSE_STATUS_CODE_INVALID_PAYLOAD = 1007


class _Utf8Validator:
    """(valid so far, ends on a character's end) for a whole text: what one case module asks while it is imported."""

    def reset(self) -> None: ...

    def validate(self, text: str) -> tuple[bool, bool]:
        data = text.encode("latin-1")
        try:
            data.decode()
        except UnicodeDecodeError as error:
            return error.end == len(data) and error.reason == "unexpected end of data", False
        return True, True


def _stand_ins() -> None:
    """Modules of Autobahn that the cases import."""
    for name, members in (
        ("autobahn", {}),
        ("autobahn.websocket", {}),
        ("autobahn.websocket.protocol", {"WebSocketProtocol": WebSocketProtocol}),
        ("autobahn.websocket.utf8validator", {"Utf8Validator": _Utf8Validator}),
    ):
        module = types.ModuleType(name)
        vars(module).update(members)
        sys.modules[name] = module
