#!/usr/bin/env python3
"""tests/bench/junk on a part of its corpus: the junk filter, as new accounts have it, is at least as good as each of
two others in precision and in recall.

usage: junk.py [--bin target/debug]
"""
import importlib.machinery
import importlib.util
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    loader = importlib.machinery.SourceFileLoader("junk", os.path.join(HERE, "..", "bench", "junk"))
    junk = importlib.util.module_from_spec(importlib.util.spec_from_loader("junk", loader))
    loader.exec_module(junk)
    binaries = sys.argv[2] if sys.argv[1:2] == ["--bin"] else None
    began = time.time()
    fine = junk.compare(binaries, count=600, seeds=[1], tested=400, settings=("mox",))
    print(f"system: the_junk_filter_is_as_good_as_others {'ok' if fine else 'FAILED'} ({time.time() - began:.1f} s)")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
