"""One golden sample a frame, decoded here and reduced by the widget's own tests."""

from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest

from server.protocol import emit, operator, visitor

GOLDEN = Path(__file__).with_name("golden")
SAMPLES = {
    "visitor": (GOLDEN, visitor.FromVisitor | visitor.ToVisitor),
    "operator": (GOLDEN / "operator", operator.FromOperator | operator.ToOperator),
}


def tag(struct: type[msgspec.Struct]) -> str:
    return str(struct.__struct_config__.tag)


def cases() -> list[Any]:
    return [
        pytest.param(folder / f"{tag(struct)}.json", struct, id=f"{side}:{tag(struct)}")
        for side, (folder, union) in SAMPLES.items()
        for struct in get_args(union)
        if not (side == "operator" and struct in (visitor.Ping, visitor.Drain))
    ]


@pytest.mark.parametrize(("path", "struct"), cases())
def test_sample_survives_a_round_trip(path: Path, struct: type[msgspec.Struct]) -> None:
    """Every frame has a sample that decodes to its struct and encodes to the same JSON."""
    sample = msgspec.json.decode(path.read_bytes())
    decoded = msgspec.json.decode(path.read_bytes(), type=struct)
    assert msgspec.json.decode(msgspec.json.encode(decoded)) == sample


@pytest.mark.parametrize(("path", "struct"), cases())
def test_sample_satisfies_the_json_schema(path: Path, struct: type[msgspec.Struct]) -> None:
    """The published JSON Schema accepts every sample, and refuses it with its type broken."""
    schema = msgspec.json.decode(emit.json_schema())
    validator = jsonschema.Draft202012Validator({**schema, "$ref": f"#/$defs/{struct.__name__}"})
    sample = msgspec.json.decode(path.read_bytes())
    validator.validate(sample)
    assert not validator.is_valid({**sample, "type": "something.else"})


def test_no_sample_without_a_frame() -> None:
    """A sample whose frame was removed is found."""
    for folder, union in SAMPLES.values():
        assert {path.stem for path in folder.glob("*.json")} <= {tag(struct) for struct in get_args(union)}


def test_generated_files_are_fresh() -> None:
    """The committed TypeScript and JSON Schema are what `frontdesk protocol` would write now."""
    for path, text in emit.outputs().items():
        assert path.read_text() == text, f"{path.name} is stale: run `make protocol`"
