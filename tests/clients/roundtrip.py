"""Our codecs against botocore's, over every operation of every model, in both directions, values compared.

    cargo build -p roundtrip
    pip install -r tests/clients/requirements.txt
    pytest -q tests/clients/roundtrip.py

Requests: values made from the model → botocore's serializer → our decode → compare.
Answers: our fill and encode → botocore's parser → compare.
`ROUNDTRIP` names the program (default: `target/debug/roundtrip` under `CARGO_TARGET_DIR` or the workspace).
"""

import base64
import datetime
import io
import json
import os
import pathlib
import subprocess
import urllib.parse

import botocore
import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize
import pytest
from botocore.awsrequest import HeadersDict as CaseInsensitiveDict

BOTOCORE = "1.43.11"
ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = sorted((ROOT / "models").glob("*.json"))
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
MAX_DEPTH = 12


def load(service):
    assert botocore.__version__ == BOTOCORE, f"botocore {BOTOCORE} is pinned"
    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model(service, "service-2"), service)


SERVICES = {path.stem: load(path.stem) for path in MODELS}
OPERATIONS = [(service, name) for service, model in SERVICES.items() for name in model.operation_names]


class Codec:
    def __init__(self):
        target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
        program = os.environ.get("ROUNDTRIP", pathlib.Path(target) / "debug" / "roundtrip")
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the codec ended at {request}"
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=10) == 0


@pytest.fixture(scope="module")
def codec():
    codec = Codec()
    yield codec
    codec.close()


class Maker:
    """Distinct values for a shape, within the bounds of the model."""

    def __init__(self, protocol):
        self.number = 0
        # Botocore cuts the times of JSON requests to seconds.
        self.step = 1000 if protocol in ("json", "rest-json") else 1001
        # A value that travels in a header has visible characters alone.
        self.plain = False

    def make(self, shape, within=()):
        self.number += 1
        return getattr(self, f"make_{shape.type_name}")(shape, within)

    def make_structure(self, shape, within):
        within = (*within, shape.name)
        made = {}
        for name, member in shape.members.items():
            self.plain = member.serialization.get("location") in ("header", "headers")
            if not self.recurs(member, within) and len(within) < MAX_DEPTH:
                made[name] = self.make(member, within)
        return made

    def recurs(self, shape, within):
        if shape.type_name == "list":
            return self.recurs(shape.member, within)
        if shape.type_name == "map":
            return self.recurs(shape.value, within)
        return shape.name in within

    def make_list(self, shape, within):
        wanted = 2 if len(within) <= 3 else 1
        low, high = shape.metadata.get("min", 0), shape.metadata.get("max", wanted)
        return [self.make(shape.member, within) for _ in range(max(low, min(wanted, high)))]

    def make_map(self, shape, within):
        return {f"key {self.number}": self.make(shape.value, within), "k&<2>": self.make(shape.value, within)}

    def make_string(self, shape, within):
        if shape.enum:
            return shape.enum[self.number % len(shape.enum)]
        text = f"v{self.number}" + (" a+b&c=d%é\n" if self.number % 3 == 0 and not self.plain else "")
        return text.ljust(shape.metadata.get("min", 0), "x")[:shape.metadata.get("max")]

    def bounded(self, shape):
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if high is None:
            return (low or 0) + self.number
        low = min(low or 0, high)
        return low + self.number % max(int(high - low), 1)

    def make_integer(self, shape, within):
        return int(self.bounded(shape))

    def make_long(self, shape, within):
        return int(self.bounded(shape)) if "max" in shape.metadata else 2**40 + self.number

    def make_double(self, shape, within):
        return self.bounded(shape) + 0.125

    make_float = make_double

    def make_boolean(self, shape, within):
        return self.number % 2 == 1

    def make_timestamp(self, shape, within):
        return EPOCH + datetime.timedelta(milliseconds=1_700_000_000_000 + self.number * (self.step if self.number % 2 else 1000))

    def make_blob(self, shape, within):
        return bytes([0, 255]) + str(self.number).encode()


def canonical(value):
    """As `roundtrip` writes values."""
    if isinstance(value, dict):
        return {key: canonical(held) for key, held in value.items()}
    if isinstance(value, list):
        return [canonical(held) for held in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(milliseconds=1)
    return value


def without_empty(value):
    """Lists that are empty and lists that are absent are one to the ec2 protocol's requests."""
    if isinstance(value, dict):
        return {key: without_empty(held) for key, held in value.items() if held != []}
    if isinstance(value, list):
        return [without_empty(held) for held in value]
    return value


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
def test_we_read_what_botocore_writes(codec, service, name):
    model = SERVICES[service].operation_model(name)
    protocol = SERVICES[service].metadata["protocol"]
    serializer = botocore.serialize.create_serializer(protocol, include_validation=False)
    value = Maker(protocol).make(model.input_shape) if model.input_shape else {}
    request = serializer.serialize_to_request(value, model)
    if protocol == "rest-json":
        answer = codec.ask(service=service, op=name, http=rest(request))
    else:
        body = request["body"].decode() if protocol == "json" else urllib.parse.urlencode(request["body"])
        answer = codec.ask(service=service, op=name, decode=body)
    assert answer.get("error") is None
    assert without_empty(answer["value"]) == without_empty(canonical(value))


def rest(request):
    """The parts of a request as botocore sends them."""
    body = request["body"]
    body = body.encode() if isinstance(body, str) else body
    return {"method": request["method"], "path": request["url_path"],
            "query": urllib.parse.urlencode(request["query_string"], doseq=True),
            "headers": request["headers"], "body": base64.b64encode(body).decode()}


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
def test_botocore_reads_what_we_write(codec, service, name):
    model = SERVICES[service].operation_model(name)
    answer = codec.ask(service=service, op=name, encode=True)
    parser = botocore.parsers.create_parser(SERVICES[service].metadata["protocol"])
    # The bodies of JSON answers hold no request id: the gateway's header does.
    headers = {"x-amzn-requestid": "request-1"} | answer.get("headers", {})
    response = {"status_code": answer.get("status", 200), "headers": CaseInsensitiveDict(headers)}
    if "status" in answer:
        body = base64.b64decode(answer["body"])
        # Botocore reads a stream itself.
        streams = model.output_shape is not None and model.has_streaming_output
        response["body"] = io.BytesIO(body) if streams else body
    else:
        response["body"] = answer["body"].encode()
    parsed = parser.parse(response, model.output_shape)
    metadata = parsed.pop("ResponseMetadata")
    assert metadata["RequestId"] == "request-1"
    parsed = {key: held.read() if isinstance(held, io.BytesIO) else held for key, held in parsed.items()}
    assert canonical(parsed) == answer["value"]
    if model.output_shape:
        assert covered(model.output_shape, answer["value"]) == []


def covered(shape, value, path="", within=()):
    """The members of the model that the value leaves out."""
    if shape.type_name == "structure":
        if shape.name in within:
            return []
        missing = []
        for name, member in shape.members.items():
            if name in value:
                missing += covered(member, value[name], f"{path}.{name}", (*within, shape.name))
            else:
                missing.append(f"{path}.{name}")
        return missing
    if shape.type_name == "list":
        return [] if value else [path]
    return []
