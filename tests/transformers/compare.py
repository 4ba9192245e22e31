#!/usr/bin/env python3
"""Compares ropewalk with transformers over random Cohere2 and Cohere models in which every pair of two options occurs (models.py):

    pip install torch transformers
    python3 tests/transformers/compare.py build/release/ropewalk                all models: some minutes
    python3 tests/transformers/compare.py build/release/ropewalk --quick        six of them

For each model: import and export give the same bits, transformers loads the export and computes the same logits, bit for bit; scores, and the
losses and gradients of three AdamW steps from the imported weights, agree with transformers in fp64 on 1, 2 and 4 ranks (checks.py has the
tolerances). Prints a line for each model, and the worst errors of all. Exit code 77: torch or transformers is not installed."""
import argparse
import pathlib
import shlex
import sys
import tempfile
import time
import traceback

import checks
import runs


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="build/release/ropewalk")
    parser.add_argument("--mpirun", default="mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1", help="what starts ranks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first model")
    parser.add_argument("--count", type=int, help="models (all)")
    parser.add_argument("--quick", action="store_true", help="six models")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder to keep the files in")
    return parser.parse_args()


def main():
    options = parse()
    try:
        import torch
        import transformers
    except ImportError as error:
        print(f"compare: {error}; pip install torch transformers", file=sys.stderr)
        return 77
    import models
    from comparison import KINDS, Comparison
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)

    designs = list(enumerate(models.covering_designs(options.seed)))[options.first:]
    designs = designs[:6 if options.quick else options.count]
    worst, failed, began = dict.fromkeys(KINDS, 0.0), 0, time.time()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}; {len(designs)} models\n{'':>3} {'  '.join(KINDS)}")
    for number, design in designs:
        with tempfile.TemporaryDirectory() as scratch:
            folder = options.keep / str(number) if options.keep else pathlib.Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                errors = Comparison(design, options.seed + number, runs.Ropewalk(options.program, shlex.split(options.mpirun), folder)).run()
                worst = {kind: max(worst[kind], errors[kind]) for kind in KINDS}
                print(f"{number:3} {'  '.join(f'{errors[kind]:{len(kind)}.1e}' for kind in KINDS)}  {models.text_of(design)}", flush=True)
            except Exception as error:  # print any failure, and go on
                failed += 1
                told = error if isinstance(error, (checks.Disagreement, runs.Failed)) else traceback.format_exc()
                print(f"{number:3} FAILED  {design}\n{told}", flush=True)
    print(f"max {'  '.join(f'{worst[kind]:{len(kind)}.1e}' for kind in KINDS)}  of {len(designs)} models, {failed} failures, "
          f"{time.time() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
