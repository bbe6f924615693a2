"""Reduce the answer of DescribeInstanceTypes to the table of facts in crates/plan/src/instance_type/catalogue.tsv.

    aws ec2 describe-instance-types > types.json
    python3 tools/instance-types/reduce.py types.json [more.json …]     # writes the table anew

A file holds an answer as the AWS CLI prints it, a list of types, or an object from names to types; gzip is fine. No AWS
account at hand: the PyPI package moto carries such a file (moto/ec2/resources/instance_types.json.gz); the committed table was
made from that of moto 5.2.5. Types that a source lacks and that some still use come from MISSING below.

The table has a line per type, in the order of the names, its columns separated by tabs. The first line names the columns. An
empty cell repeats the line above; `-` is: none. Lists are separated by commas, and `1-4` or `2-8/2` (by twos) stand for numbers.
What follows from the rest is left out; where a source contradicts such a rule the script stops.
"""

import copy
import gzip
import itertools
import json
import pathlib
import sys

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/plan/src/instance_type/catalogue.tsv"

ACCELERATORS = {  # column: (member, list, total)
    "gpu": ("GpuInfo", "Gpus", "TotalGpuMemoryInMiB"),
    "fpga": ("FpgaInfo", "Fpgas", "TotalFpgaMemoryInMiB"),
    "inference": ("InferenceAcceleratorInfo", "Accelerators", "TotalInferenceMemoryInMiB"),
    "media": ("MediaAcceleratorInfo", "Accelerators", "TotalMediaMemoryInMiB"),
    "neuron": ("NeuronInfo", "NeuronDevices", "TotalNeuronDeviceMemoryInMiB"),
}


def gpu(name, maker, count, memory):
    device = {"Name": name, "Manufacturer": maker, "Count": count, "LogicalGpuCount": count, "GpuPartitionSize": 1.0,
              "Workloads": ["ml-ai"], "MemoryInfo": {"SizeInMiB": memory}}
    return {"GpuInfo": {"Gpus": [device], "TotalGpuMemoryInMiB": count * memory}}


def size(vcpus, gib, threads=2, cores=None):
    return {"VCpuInfo": {"DefaultVCpus": vcpus, "DefaultCores": vcpus // threads, "DefaultThreadsPerCore": threads},
            "MemoryInfo": {"SizeInMiB": gib * 1024}}


def network(text, interfaces, addresses, baseline, peak):
    return {"network": (text, interfaces, addresses, baseline, peak)}


def ebs(baseline, baseline_iops, maximum, maximum_iops):
    return {"ebs": (baseline, baseline_iops, maximum, maximum_iops)}


def disks(count, gigabytes):
    return {"InstanceStorageSupported": True,
            "InstanceStorageInfo": {"Disks": [{"Count": count, "SizeInGB": gigabytes, "Type": "ssd"}],
                                    "EncryptionSupport": "required", "NvmeSupport": "required",
                                    "TotalSizeInGB": count * gigabytes}}


V100, V520, GAUDI = ("V100", "NVIDIA"), ("Radeon Pro V520", "AMD"), ("Gaudi HL-205", "Habana")
XEON = {"ProcessorInfo": {"Manufacturer": "Intel", "SupportedArchitectures": ["x86_64"], "SustainedClockSpeedInGhz": 2.7}}
EPYC = {"ProcessorInfo": {"Manufacturer": "AMD", "SupportedArchitectures": ["x86_64"], "SustainedClockSpeedInGhz": 3.0}}
NO_DISKS = {"InstanceStorageSupported": False, "InstanceStorageInfo": None}
MISSING = {  # name: (a type of the source with the same traits, what differs)
    "p3.2xlarge": ("g4dn.2xlarge", size(8, 61) | XEON | NO_DISKS | gpu(*V100, 1, 16384)
                   | network("Up to 10 Gigabit", 4, 15, 2.5, 10.0) | ebs(1750, 10000, 1750, 10000)),
    "p3.8xlarge": ("g4dn.8xlarge", size(32, 244) | XEON | NO_DISKS | gpu(*V100, 4, 16384)
                   | network("10 Gigabit", 8, 30, 10.0, 10.0) | ebs(7000, 40000, 7000, 40000)),
    "p3.16xlarge": ("g4dn.16xlarge", size(64, 488) | XEON | NO_DISKS | gpu(*V100, 8, 16384)
                    | network("25 Gigabit", 8, 30, 25.0, 25.0) | ebs(14000, 80000, 14000, 80000)),
    "g4ad.xlarge": ("g4dn.xlarge", size(4, 16) | EPYC | disks(1, 150) | gpu(*V520, 1, 8192)
                    | network("Up to 10 Gigabit", 2, 4, 2.042, 10.0) | ebs(400, 1700, 3170, 13333)),
    "g4ad.2xlarge": ("g4dn.2xlarge", size(8, 32) | EPYC | disks(1, 300) | gpu(*V520, 1, 8192)
                     | network("Up to 10 Gigabit", 2, 4, 4.167, 10.0) | ebs(800, 3400, 3170, 13333)),
    "g4ad.4xlarge": ("g4dn.4xlarge", size(16, 64) | EPYC | disks(1, 600) | gpu(*V520, 1, 8192)
                     | network("Up to 10 Gigabit", 3, 10, 8.333, 10.0) | ebs(1580, 6700, 3170, 13333)),
    "g4ad.8xlarge": ("g4dn.8xlarge", size(32, 128) | EPYC | disks(1, 1200) | gpu(*V520, 2, 8192)
                     | network("15 Gigabit", 4, 15, 15.0, 15.0) | ebs(3170, 13333, 3170, 13333)),
    "g4ad.16xlarge": ("g4dn.16xlarge", size(64, 256) | EPYC | disks(1, 2400) | gpu(*V520, 4, 8192)
                      | network("25 Gigabit", 8, 30, 25.0, 25.0) | ebs(6300, 26667, 6300, 26667)),
    "i3.metal": ("i3en.metal", size(72, 512) | disks(8, 1900)
                 | {"ProcessorInfo": XEON["ProcessorInfo"] | {"SustainedClockSpeedInGhz": 2.3}}
                 | network("25 Gigabit", 15, 50, 25.0, 25.0) | ebs(19000, 80000, 19000, 80000)),
}


def derive(source, name):
    like, differs = MISSING[name]
    kind = copy.deepcopy(source[like]) | {"InstanceType": name, "CurrentGeneration": not name.startswith("p3")}
    for member, value in differs.items():
        if member == "network":
            text, interfaces, addresses, baseline, peak = value
            info = kind["NetworkInfo"]
            info |= {"NetworkPerformance": text, "MaximumNetworkInterfaces": interfaces, "MaximumNetworkCards": 1,
                     "Ipv4AddressesPerInterface": addresses, "Ipv6AddressesPerInterface": addresses, "EfaSupported": False}
            info.pop("EfaInfo", None)
            info["NetworkCards"] = [info["NetworkCards"][0] | {
                "NetworkPerformance": text, "MaximumNetworkInterfaces": interfaces, "BaselineBandwidthInGbps": baseline,
                "PeakBandwidthInGbps": peak}]
        elif member == "ebs":
            for at, label in ((0, "Baseline"), (2, "Maximum")):
                kind["EbsInfo"]["EbsOptimizedInfo"] |= {
                    f"{label}BandwidthInMbps": value[at], f"{label}ThroughputInMBps": value[at] / 8,
                    f"{label}Iops": value[at + 1]}
        elif value is None:
            kind.pop(member, None)
        else:
            kind[member] = value
    return kind


def number(value):
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def words(values):
    return ",".join(values) if values else "-"


def numbers(values):
    """1, 2, 3, 6, 9, 12 → 1-3,6-12/3"""
    out, rest = [], list(values or [])
    while rest:
        run = rest[:1]
        step = rest[1] - rest[0] if len(rest) > 1 else 0
        for value in rest[1:]:
            if value - run[-1] != step:
                break
            run.append(value)
        if len(run) < 3:
            run = run[:1]
        rest = rest[len(run):]
        out.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" + (f"/{step}" if step > 1 else ""))
    return words(out)


def must(name, holds, what):
    if not holds:
        sys.exit(f"{name}: {what}; the table has no place for that, extend it")


def rates(name, info):
    out = []
    for label in ("Baseline", "Maximum"):
        mbps, throughput = info[f"{label}BandwidthInMbps"], info[f"{label}ThroughputInMBps"]
        must(name, int(throughput * 8) == mbps, "throughput and bandwidth to EBS disagree")
        out += [number(throughput * 8), number(info[f"{label}Iops"])]
    return "/".join(out)


def card(one):
    values = [one["NetworkPerformance"]] + [number(one.get(key)) for key in (
        "MaximumNetworkInterfaces", "BaselineBandwidthInGbps", "PeakBandwidthInGbps", "DefaultEnaQueueCountPerInterface",
        "MaximumEnaQueueCount", "MaximumEnaQueueCountPerInterface", "AdditionalFlexibleNetworkInterfaces")]
    return "|".join(values)


def cards(all_cards):
    runs = [(key, len(list(run))) for key, run in itertools.groupby(map(card, all_cards))]
    return ",".join(key if count == 1 else f"{count}*{key}" for key, count in runs)


def accelerator(name, kind, column):
    member, devices, total = ACCELERATORS[column]
    if member not in kind:
        return "-"
    must(name, len(kind[member][devices]) == 1, f"several kinds of device in {member}")
    one = kind[member][devices][0]
    memory = one["MemoryInfo"]["SizeInMiB"]
    # A part of a GPU counts as none and shows its share of the memory.
    must(name, kind[member].get(total) == max(one["Count"], 1) * memory, f"{total} is not the devices' sum")
    values = [one["Count"], one["Name"], one.get("Manufacturer"), memory]
    if column == "gpu":
        values += [one["LogicalGpuCount"], one["GpuPartitionSize"], "+".join(one["Workloads"])]
    if column == "neuron":
        values += [one["CoreInfo"]["Count"], one["CoreInfo"]["Version"]]
    return "|".join(value if isinstance(value, str) else number(value) for value in values)


def flags(kind):
    network = kind["NetworkInfo"]
    told = {
        "burst": kind["BurstablePerformanceSupported"], "current": kind["CurrentGeneration"],
        "free": kind["FreeTierEligible"], "hibernate": kind["HibernationSupported"],
        "recover": kind["AutoRecoverySupported"], "hosts": kind["DedicatedHostsSupported"],
        "migrate": kind.get("RebootMigrationSupport") == "supported",
        "enclaves": kind["NitroEnclavesSupport"] == "supported", "tpm": kind["NitroTpmSupport"] == "supported",
        "clock": kind["PhcSupport"] == "supported", "metal": kind["BareMetal"],
        "cluster": "cluster" in kind["PlacementGroupInfo"]["SupportedStrategies"],
        "transit": network["EncryptionInTransitSupported"], "srd": network["EnaSrdSupported"],
        "queues": network["FlexibleEnaQueuesSupport"] == "supported", "ipv6": network["Ipv6Supported"],
        "weights": "BandwidthWeightings" in network, "secondary": "Ipv4AddressesPerSecondaryInterface" in network,
    }
    return words([name for name, holds in told.items() if holds])


def row(kind):
    name, cpu, network, store = kind["InstanceType"], kind["VCpuInfo"], kind["NetworkInfo"], kind["EbsInfo"]
    processor, disk = kind["ProcessorInfo"], kind.get("InstanceStorageInfo")
    must(name, cpu["DefaultVCpus"] == cpu["DefaultCores"] * cpu["DefaultThreadsPerCore"], "cores and threads disagree")
    must(name, network["DefaultNetworkCardIndex"] == 0, "the default network card is not the first")
    must(name, network["Ipv6AddressesPerInterface"] in (0, network["Ipv4AddressesPerInterface"]), "IPv6 differs from IPv4")
    must(name, network["MaximumNetworkCards"] == len(network["NetworkCards"]), "cards are missing")
    must(name, not network.get("SecondaryNetworkSupported"), "it has secondary networks")
    must(name, network["EfaSupported"] == ("EfaInfo" in network), "EFA is told in half")
    must(name, store["EncryptionSupport"] == "supported", "volumes are not encrypted")
    must(name, not disk or len(disk["Disks"]) == 1, "it has several kinds of disk")
    tracking = network["ConnectionTrackingConfiguration"]
    must(name, (tracking["DefaultUdpStreamTimeout"], tracking["DefaultUdpTimeout"]) == (180, 30), "UDP times out otherwise")
    for strategy in ("partition", "spread"):
        must(name, strategy in kind["PlacementGroupInfo"]["SupportedStrategies"], f"no {strategy} placement")
    for one in store.get("EbsCards", []):
        for key in (key for key in one if key != "EbsCardIndex"):
            must(name, one[key] * len(store["EbsCards"]) == store["EbsOptimizedInfo"][key], "cards to EBS are not alike")
    return {
        "name": name, "vcpus": number(cpu["DefaultVCpus"]), "threads": number(cpu["DefaultThreadsPerCore"]),
        "valid-cores": numbers(cpu.get("ValidCores")), "valid-threads": numbers(cpu.get("ValidThreadsPerCore")),
        "memory": number(kind["MemoryInfo"]["SizeInMiB"]), "architectures": words(processor["SupportedArchitectures"]),
        "maker": processor["Manufacturer"], "ghz": number(processor.get("SustainedClockSpeedInGhz")),
        "features": words(processor.get("SupportedFeatures")), "hypervisor": kind.get("Hypervisor", "-"), "flags": flags(kind),
        "usage": words(sorted(kind["SupportedUsageClasses"], key=["on-demand", "spot", "capacity-block"].index)),
        "boot": words(kind["SupportedBootModes"]), "root": words(kind["SupportedRootDeviceTypes"]),
        "virtualization": words(kind["SupportedVirtualizationTypes"]), "network": network["NetworkPerformance"],
        "interfaces": number(network["MaximumNetworkInterfaces"]), "ipv4": number(network["Ipv4AddressesPerInterface"]),
        "ena": network["EnaSupport"], "efa": number(network.get("EfaInfo", {}).get("MaximumEfaInterfaces")),
        "tcp": number(tracking["DefaultTcpEstablishedTimeout"]), "cards": cards(network["NetworkCards"]),
        "ebs": store["EbsOptimizedSupport"],
        "ebs-rates": rates(name, store["EbsOptimizedInfo"]) if "EbsOptimizedInfo" in store else "-",
        "ebs-nvme": store["NvmeSupport"], "volumes": number(store["MaximumEbsAttachments"]),
        "volume-limit": store["AttachmentLimitType"], "ebs-cards": number(len(store.get("EbsCards", [])) or None),
        "disks": "-" if not disk else "|".join([
            *(str(disk["Disks"][0][key]) for key in ("Count", "SizeInGB", "Type")), disk["EncryptionSupport"],
            disk["NvmeSupport"]]),
    } | {column: accelerator(name, kind, column) for column in ACCELERATORS}


def read(path):
    data = pathlib.Path(path).read_bytes()
    parsed = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    if isinstance(parsed, dict):
        parsed = parsed.get("InstanceTypes", list(parsed.values()))
    return {kind["InstanceType"]: kind for kind in parsed}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    types = {}
    for path in sys.argv[1:]:
        types |= read(path)
    types |= {name: derive(types, name) for name in MISSING if name not in types}
    lines, above = [], {}
    for name in sorted(types):
        cells = row(types[name])
        if not lines:
            lines.append("\t".join(cells))
        assert all(cells.values()) and not any("\t" in cell for cell in cells.values())
        lines.append("\t".join("" if above.get(key) == cell else cell for key, cell in cells.items()))
        above = cells
    OUT.write_text("\n".join(lines) + "\n")
    print(f"{len(types)} types, {OUT.stat().st_size} bytes")


main()
