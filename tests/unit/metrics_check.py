#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""metrics_check [NAME{LABEL="VALUE",...}...] <TEXT: text in Prometheus' exposition format, strictly; then the value of each series named.

Stricter than Prometheus itself: every family has HELP and TYPE, once and together, counters end in _total, no series comes
twice, histograms add up. Exits with 1 and the line for what is wrong, also when a named series is not there.
"""
import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? ([0-9.e+-]+|\+Inf|-Inf|NaN)")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def fail(number, line, why):
    sys.exit(f"line {number}: {why}: {line}")


def check_histogram(name, series):
    buckets = [(k, v) for k, v in series.items() if k.startswith(name + "_bucket")]
    values = [v for _, v in buckets]
    assert values == sorted(values), f"{name}: buckets do not add up"
    assert 'le="+Inf"' in buckets[-1][0], f"{name}: no bucket of everything"
    assert values[-1] == series[name + "_count"], f"{name}: count is another one"


def parse(text):
    families, series, helped, current = {}, {}, None, None
    assert text.endswith("\n"), "the last line has no end"
    for number, line in enumerate(text[:-1].split("\n"), 1):
        if not line.isascii() or not line.isprintable():
            fail(number, line, "not printable ASCII")
        if line.startswith("#"):
            match = re.fullmatch(rf"# (HELP|TYPE) ({NAME}) (.+)", line) or fail(number, line, "no comment of the format")
            kind, name, rest = match.groups()
            if kind == "HELP":
                if name in families:
                    fail(number, line, "a family comes twice")
                helped = name
                continue
            if helped != name or rest not in SUFFIXES:
                fail(number, line, "TYPE without HELP, or unknown")
            if (rest == "counter") != name.endswith("_total"):
                fail(number, line, "counters, and only they, end in _total")
            families[name], current = rest, name
            continue
        match = SAMPLE.fullmatch(line) or fail(number, line, "no sample")
        name, labels, value = match.groups()
        if current is None or name not in [current + s for s in SUFFIXES[families[current]]]:
            fail(number, line, "outside its family")
        keys = re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="', re.sub(r"\\.", "", labels or ""))
        if len(keys) != len(set(keys)):
            fail(number, line, "a label comes twice")
        key = name + (f"{{{labels}}}" if labels else "")
        if key in series:
            fail(number, line, "a series comes twice")
        series[key] = float(value)
        if families[current] != "gauge" and not series[key] >= 0:
            fail(number, line, "a counter below zero")
    for name, kind in families.items():
        if kind == "histogram":
            check_histogram(name, series)
    return series


def matches(key, wanted):
    name, _, labels = wanted.rstrip("}").partition("{")
    return re.split("{", key, maxsplit=1)[0] == name and all(label in key for label in labels.split(",") if label)


def main():
    series = parse(sys.stdin.buffer.read().decode())
    for wanted in sys.argv[1:]:
        found = [value for key, value in series.items() if matches(key, wanted)]
        if len(found) != 1:
            sys.exit(f"{len(found)} series {wanted}")
        print(f"{found[0]:.15g}")


main()
