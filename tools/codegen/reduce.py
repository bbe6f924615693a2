"""Reduce botocore's service models to the facts that the code generator needs, without prose.

    python3 tools/codegen/reduce.py            # writes models/*.json
    python3 tools/codegen/reduce.py --check    # exits 1 when a committed model differs

The botocore version is pinned: other versions are refused, so that a model changes only on purpose. The output has one line
per operation and per shape, in the order of their names; members keep the order of the model.
"""

import gzip
import json
import pathlib
import sys

BOTOCORE = "1.43.11"
SERVICES = {"ebs": "2019-11-02", "ec2": "2016-11-15", "kms": "2014-11-01", "rbin": "2021-06-15", "sts": "2011-06-15"}

ROOT = pathlib.Path(__file__).resolve().parents[2]
METADATA = ("apiVersion", "endpointPrefix", "globalEndpoint", "protocol", "serviceId", "signingName", "targetPrefix",
            "jsonVersion", "xmlNamespace", "awsQueryCompatible")
# What a reference to a shape may add to it (members of structures and lists, keys and values of maps, inputs, outputs).
REFERENCE = ("shape", "locationName", "queryName", "location", "flattened", "idempotencyToken", "jsonvalue", "streaming",
             "timestampFormat", "xmlAttribute", "xmlNamespace", "resultWrapper", "box", "hostLabel", "eventpayload",
             "eventheader")
SHAPE = ("type", "required", "enum", "min", "max", "pattern", "sensitive", "flattened", "locationName", "timestampFormat",
         "payload", "union", "document", "eventstream", "error", "exception", "fault", "xmlNamespace", "jsonvalue",
         "streaming", "retryable", "box")
OPERATION = ("name", "http", "authtype", "errors", "endpoint")


def pick(source, keys):
    return {key: source[key] for key in keys if key in source}


def reference(source):
    return pick(source, REFERENCE)


def operation(source, paging):
    out = pick(source, OPERATION)
    out["errors"] = [error["shape"] for error in source.get("errors", [])]
    if not out["errors"]:
        del out["errors"]
    for side in ("input", "output"):
        if side in source:
            out[side] = reference(source[side])
    if paging:
        out["paging"] = pick(paging, ("input_token", "output_token", "limit_key", "result_key"))
    return out


def shape(name, source):
    out = {"name": name} | pick(source, SHAPE)
    if source["type"] == "structure":
        out["members"] = [{"name": key} | reference(member) for key, member in source["members"].items()]
    if "member" in source:
        out["member"] = reference(source["member"])
    for side in ("key", "value"):
        if side in source:
            out[side] = reference(source[side])
    return out


def render(service, version):
    import botocore

    if botocore.__version__ != BOTOCORE:
        sys.exit(f"botocore {BOTOCORE} is pinned, this is {botocore.__version__}")
    data = pathlib.Path(botocore.__file__).parent / "data" / service / version
    model = json.loads(gzip.open(data / "service-2.json.gz").read())
    paging = json.loads((data / "paginators-1.json").read_text())["pagination"]

    def line(value):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=True)

    operations = [line(operation(value, paging.get(key))) for key, value in sorted(model["operations"].items())]
    shapes = [line(shape(key, value)) for key, value in sorted(model["shapes"].items())]
    head = {"source": f"botocore {BOTOCORE} {service}/{version}", "service": service,
            "metadata": pick(model["metadata"], METADATA)}
    return "{\n%s,\n\"operations\":[\n%s\n],\n\"shapes\":[\n%s\n]\n}\n" % (
        ",\n".join(f"{line(key)}:{line(value)}" for key, value in head.items()),
        ",\n".join(operations), ",\n".join(shapes))


def main():
    stale = []
    for service, version in SERVICES.items():
        path = ROOT / "models" / f"{service}.json"
        text = render(service, version)
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text() != text:
                stale.append(str(path))
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if stale:
        sys.exit("not current: " + ", ".join(stale))


if __name__ == "__main__":
    main()
