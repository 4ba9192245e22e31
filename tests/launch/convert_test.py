"""`ropewalk import` and `export` as users meet them: reports, exit codes, signals, memory."""
import json
import os
import re
import signal
import subprocess
import sys
import time

from hugging_face import write_model
from program import JOBS, PROGRAM, expect, main, peak_bytes, ranks, ropewalk

MIB = 1 << 20


def data_of(path):
    """Name -> bytes of the tensors of a safetensors file."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    header.pop("__metadata__", None)
    return {name: content[8 + length:][slice(*entry["data_offsets"])] for name, entry in header.items()}


def nothing_is_left(folder, name):
    return not list(folder.glob(f"{name}*"))


def a_model_goes_in_and_out_unchanged(folder):
    """Both verbs print what they did on stdout; an existing output is never overwritten."""
    size = write_model(folder / "model", use_cache=True, new_key=None)
    (folder / "model/README.md").write_text("card")
    done = ropewalk("import", "model", "--output", "imported", cwd=folder)
    expect(done.code == 0 and done.err == "", done)
    for said in ["config.json of model (Cohere2ForCausalLM):\n  used:\n", 'model_type "cohere2"', "sliding_window 16",
                 "  not in the file; the default of transformers:\n    head_dim 8, initializer_range 0.02\n",
                 "  ignored (kept for the export):\n", "eos_token_id 3", "  ignored (how a program uses the model):\n    use_cache true\n",
                 "  ignored (null):\n    new_key null\n",
                 "  layers:\n    3 with mask SLIDING window 16 position ROPE theta 50000, 1 with mask FULL position NONE\n",
                 "  files that the checkpoint carries along, for the export:\n    config.json, tokenizer.json\n", "  left behind:\n    README.md\n",
                 "wrote imported: ", " parameters in 4 layers, ", " of BF16\n"]:
        expect(said in done.out, (said, done))
    expect(max(map(len, done.out.splitlines())) <= 150, done)
    out = ropewalk("export", "imported", "--output", "exported", cwd=folder)
    expect(out.code == 0 and out.err == "", out)
    expect(out.out.startswith("wrote exported from imported: Cohere2ForCausalLM, ") and "read back and compared\n" in out.out, out)
    expect(re.findall(r"^  (\S+)$", out.out, re.M) == ["config.json", "model.safetensors", "tokenizer.json", "generation_config.json"], out)
    expect("tokenizer files" not in out.out, out)
    weights = data_of(folder / "exported/model.safetensors")
    expect(weights == data_of(folder / "model/model.safetensors") and sum(map(len, weights.values())) == size, "weights")
    expect((folder / "exported/tokenizer.json").read_text() == (folder / "model/tokenizer.json").read_text(), "tokenizer")
    for words in (["import", "model", "--output", "imported"], ["export", "imported", "--output", "exported"]):
        again = ropewalk(*words, cwd=folder)
        expect(again.code == 3 and again.out == "" and "exists; remove it, or give another name" in again.err, again)


def keys_that_are_not_known_are_refused_or_ignored(folder):
    write_model(folder / "model", new_key=7, attention_bias=True)
    refused = ropewalk("import", "model", "--output", "out", cwd=folder)
    expect(refused.code == 2 and refused.out == "" and "config.json has 2 problems:\n" in refused.err, refused)
    expect("attention_bias = true: must be false" in refused.err and "add --ignore-key new_key" in refused.err, refused)
    one = ropewalk("import", "model", "--output", "out", "--ignore-key", "new_key", cwd=folder)
    expect(one.code == 2 and "1 problem:" in one.err and nothing_is_left(folder, "out"), one)
    done = ropewalk("import", "model", "--output", "out", "--ignore-key", "new_key", "--ignore-key", "attention_bias", cwd=folder)
    expect(done.code == 0 and "ignored (as you asked):\n    attention_bias true, new_key 7\n" in done.out, done)


def each_kind_of_error_has_its_code(folder):
    """2: command line, config.json; 3: files of the Hugging Face model; 4: checkpoint. Nothing is left of the output."""
    write_model(folder / "model")
    write_model(folder / "biased", attention_bias=True)
    write_model(folder / "damaged")
    with open(folder / "damaged/model.safetensors", "r+b") as file:
        file.truncate(1000)
    expect(ropewalk("import", "model", "--output", "checkpoint", cwd=folder).code == 0, "import")
    expect(ropewalk("import", "model", "--output", "broken", cwd=folder).code == 0, "import")
    with open(folder / "broken/model.safetensors", "r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"?")
    for words, code, said in [
            (["import", "--output", "out"], 2, "import needs HF_DIR"),
            (["import", "model"], 2, "import needs --output CHECKPOINT"),
            (["import", "model", "--output", "out", "--ignore", "x"], 2, "import has no option --ignore"),
            (["import", "model", "--output", "out", "--ignore-key", "absent"], 2, "absent is not in the file"),
            (["import", "biased", "--output", "out"], 2, "attention_bias = true"),
            (["import", "nowhere", "--output", "out"], 3, "nowhere does not exist"),
            (["import", "damaged", "--output", "out"], 3, "damaged/model.safetensors is no valid safetensors file"),
            (["import", "checkpoint", "--output", "out"], 3, "is a checkpoint of ropewalk already"),
            (["import", "model", "--output", "book.txt/out"], 3, "book.txt"),
            (["export", "checkpoint"], 2, "export needs --output HF_DIR"),
            (["export", "checkpoint", "--output", "out", "--dtype", "fp8"], 2, "--dtype fp8: must be fp32, bf16 or fp16"),
            (["export", "checkpoint", "--output", "out", "--max-shard-size", "5XB"], 2, "must be a size such as 5GB, 500MB or 20KB"),
            (["export", "model", "--output", "out"], 4, "is a Hugging Face model, not a checkpoint; import it"),
            (["export", "nowhere", "--output", "out"], 4, "there is no checkpoint nowhere"),
            (["export", "broken", "--output", "out"], 4, "the data have checksum"),
            (["export", "checkpoint", "--output", "book.txt"], 3, "book.txt exists")]:
        result = ropewalk(*words, cwd=folder)
        expect(result.code == code and result.out == "" and said in result.err, (words, result))
        expect(nothing_is_left(folder, "out") and not (folder / "book.txt.ropewalk-tmp").exists(), words)


def shards_have_the_size_that_is_asked(folder):
    write_model(folder / "model")
    expect(ropewalk("import", "model", "--output", "checkpoint", cwd=folder).code == 0, "import")
    for size, bytes_of in [("20KB", 20_000), ("20000", 20_000), ("1MB", 10**6), ("5GB", 5 * 10**9), ("9223372036GB", 2**63)]:
        done = ropewalk("export", "checkpoint", "--output", "out", "--max-shard-size", size, cwd=folder)
        expect(done.code == 0, done)
        shards = list((folder / "out").glob("*.safetensors"))
        expect((len(shards) > 1) == (bytes_of == 20_000), (size, shards))
        expect(all(sum(map(len, data_of(shard).values())) <= bytes_of for shard in shards), size)
        expect((folder / "out/model.safetensors.index.json").exists() == (len(shards) > 1), size)
        subprocess.run(["rm", "-r", folder / "out"], check=True)
    for size in ("0", "-1", "5 GB", "5gb", "5TB", "KB", "", "1.5GB", "0x10", "9223372037GB", "99999999999999999999"):
        wrong = ropewalk("export", "checkpoint", f"--max-shard-size={size}", "--output", "out", cwd=folder)
        expect(wrong.code == 2 and "--max-shard-size" in wrong.err and nothing_is_left(folder, "out"), (size, wrong))


def a_run_is_exported(folder):
    """With the weights of all ranks, the step that it had reached, and what a user has to add."""
    expect(ranks(2, "train", "tiny.textproto", "--set", "parallel.tensor_parallel=2", cwd=folder).code == 0, "train")
    done = ropewalk("export", "run/checkpoints/step-00000006", "--output", "out", "--dtype", "bf16", cwd=folder)
    expect(done.code == 0 and "wrote out from run/checkpoints/step-00000006 (step 6): Cohere2ForCausalLM, " in done.out, done)
    expect("of BF16, read back" in done.out and "note: the checkpoint carries no tokenizer files; put the tokenizer's" in done.out, done)
    config = json.loads((folder / "out/config.json").read_text())
    expect((config["max_position_embeddings"], config["eos_token_id"], config["torch_dtype"]) == (64, 256, "bfloat16"), config)
    expect(ropewalk("import", "out", "--output", "back", cwd=folder).code == 0, "import")
    whole = ropewalk("export", "run", "--output", "other", cwd=folder)
    expect(whole.code == 4 and "run holds checkpoints and is not one itself; name one of them, such as" in whole.err, whole)


def one_rank_of_a_job_does_the_work(folder):
    write_model(folder / "model")
    for words, target in ((["import", "model"], "checkpoint"), (["export", "checkpoint"], "out")):
        done = ranks(2, *words, "--output", target, cwd=folder)
        expect(done.code == 0 and done.out.count(f"wrote {target}") == 1, done)


def ended_by(sent, folder, words, seen):
    """Exit code, stdout and stderr of the program that got the signal `sent` as soon as the file `seen` had some data."""
    job = subprocess.Popen([PROGRAM, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    JOBS.append(job)
    end = time.time() + 60
    while not (seen.exists() and seen.stat().st_size) and job.poll() is None and time.time() < end:
        time.sleep(0.002)
    job.send_signal(sent)
    out, err = job.communicate(timeout=60)
    return job.returncode, out, err


def a_signal_leaves_nothing(folder):
    write_model(folder / "model", width=1024, vocabulary=400_000, hidden=1024, is_random=False)
    for sent in (signal.SIGTERM, signal.SIGINT):
        ended = ended_by(sent, folder, ["import", "model", "--output", "out"], folder / "out.ropewalk-tmp/model.safetensors")
        expect(ended[0] == 128 + sent and ended[1] == "" and "stopped by a signal; nothing was written" in ended[2], ended)
        expect(nothing_is_left(folder, "out"), list(folder.iterdir()))
    killed = ended_by(signal.SIGKILL, folder, ["import", "model", "--output", "out"], folder / "out.ropewalk-tmp/model.safetensors")
    expect(killed[0] == -signal.SIGKILL and not (folder / "out").exists() and (folder / "out.ropewalk-tmp").exists(), killed)
    expect(ropewalk("import", "model", "--output", "out", cwd=folder).code == 0, "the next import")
    expect(not (folder / "out.ropewalk-tmp").exists(), "what the killed import left")
    ended = ended_by(signal.SIGTERM, folder, ["export", "out", "--output", "back"], folder / "back.ropewalk-tmp/model.safetensors")
    expect(ended[0] == 128 + signal.SIGTERM and nothing_is_left(folder, "back"), ended)


def memory_does_not_grow_with_the_model(folder):
    """Both need some 40 MiB beside the files that they carry along."""
    size = write_model(folder / "model", width=1024, vocabulary=100_000, hidden=4096, is_random=False)
    expect(size > 300e6, size)
    for words in (["import", "model", "--output", "checkpoint"], ["export", "checkpoint", "--output", "out"],
                  ["export", "checkpoint", "--output", "half", "--dtype", "fp16", "--max-shard-size", "50MB"]):
        peak = peak_bytes([PROGRAM, *words], folder)
        print(f"        peak of {words[0]}: {peak / MIB:.0f} MiB for {size / MIB:.0f} MiB")
        expect(peak < 150 * MIB, (words, peak))


if __name__ == "__main__":
    tests = [a_model_goes_in_and_out_unchanged, keys_that_are_not_known_are_refused_or_ignored, each_kind_of_error_has_its_code,
             shards_have_the_size_that_is_asked, a_run_is_exported, one_rank_of_a_job_does_the_work, a_signal_leaves_nothing]
    if os.environ.get("MEASURE_MEMORY"):  # a sanitizer needs memory of its own
        tests.append(memory_does_not_grow_with_the_model)
    sys.exit(main(tests))
