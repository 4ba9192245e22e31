"""Prints one digest for each of many runs: a hash of every step's metrics and of the last checkpoint's tensors (weights and moments,
which depend on all gradients). Two programs that print the same lines compute the same bits:

    python3 tests/end_to_end/digest.py PROGRAM > before.txt
"""
import hashlib
import json
import sys

import harness

MESHES = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (1, 3, 1), (2, 2, 1), (1, 2, 2), (2, 1, 2), (1, 1, 4), (2, 2, 2)]  # data, context, tensor
SETTINGS = {
    "plain": [],
    "micro-batches": ["training.micro_batch=1", "parallel.sequence_parallel=false"],
    "one bucket": ["parallel.bucket_parameters=1000000000"],
    "block recomputed": ["training.recompute=BLOCK"],
    "all but attention recomputed": ["training.recompute=BLOCK_BUT_ATTENTION"],
    "reference": ["parallel.device=REFERENCE"],
    "two stages": ["training.stages.0.first_step=5", "training.stages.0.sequence_length=120", "training.stages.0.theta=50000"],
}


class Digests(harness.RopewalkTest):
    def runTest(self):
        for name, settings in SETTINGS.items():
            for number, (data, context, tensor) in enumerate(MESHES if name == "plain" else MESHES[:1] + MESHES[6:7]):
                run = f"{name.replace(' ', '_').replace(',', '')}-{number}"
                mesh = [f"parallel.data_parallel={data}", f"parallel.context_parallel={context}", f"parallel.tensor_parallel={tensor}"]
                self.check(self.train(data * context * tensor, *mesh, *settings, f"output.directory={run}"))
                digest = hashlib.sha256(json.dumps(self.numbers(run)).encode())
                for file, content in sorted(self.tensors(12, run).items()):
                    digest.update(file.encode() + content)
                print(f"{name}, data {data} x context {context} x tensor {tensor}: {digest.hexdigest()[:16]}", flush=True)


if __name__ == "__main__":
    harness.unittest.main(argv=[word for word in sys.argv if word in (sys.argv[0], "-h", "--help")])
