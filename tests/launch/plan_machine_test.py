"""`ropewalk plan` on machines: does a rank fit, what would make it fit, how long does a step take, which mesh is fastest."""
import json
import os
import pathlib
import sys

from program import ROOT, expect, main, ropewalk

R7B = str(ROOT / "configs/command_r7b.textproto")
REFUSED = [  # words, and what the error teaches
    (["--links", "nvlink=-1", "--device", "h100"], ["--links nvlink=-1", "from 0.001 to 1000000", "nvlink=GB/s,net=GB/s"]),
    (["--links", "nvlink=x", "--device", "h100"], ["nvlink must be a number"]),
    (["--links", "nvlink=1e400", "--device", "h100"], ["nvlink must be a number"]),
    (["--links", "nvlink", "--device", "h100"], ["nvlink must be a number"]),
    (["--links", "infiniband=50", "--device", "h100"], ["there is no link \"infiniband\" (ranks of a host use nvlink)"]),
    (["--links", "nvlink=1e-300", "--device", "h100"], ["nvlink must be a number from 0.001"]),
    (["--links", "net=1e300", "--device", "h100"], ["net must be a number from 0.001"]),
    (["--links", "nvlink=1,nvlink=2", "--device", "h100"], ["nvlink is given twice"]),
    (["--links", "nvlink=50", "--device", "l40s"], ["there is no link \"nvlink\" (ranks of a host use pcie)"]),
    (["--device", "h100", "--set", "output.peak_flops=1e308"], ["output.peak_flops", "must be 0, or at least 1000000 and at most 1e+18"]),
    (["--device", "h100", "--set", "output.peak_flops=1e-300"], ["output.peak_flops", "must be 0, or"]),
    (["--links", "shm=5", "--device", "h100"], ["there is no link \"shm\" (ranks of a host use nvlink)"]),
    (["--links", "nvlink=5", "--device", "cpu"], ["there is no link \"nvlink\" (ranks of a host use shm)"]),
    (["--links", "nvlink=450"], ["needs --device"]),
    (["--device", "h10"], ["there is no device \"h10\"", "did you mean h100?", "b200"]),
    (["--device", "quantum"], ["there is no device \"quantum\"; known are cpu, h100"]),
    (["--device", "h100", "--set", "parallel.device=CPU"], ["--set makes parallel.device CPU"]),
    (["--device", "cpu", "--set", "parallel.device=CUDA"], ["--set makes parallel.device CUDA"]),
    (["--device-memory", "0"], ["--device-memory 0", "80GiB"]),
    (["--device-memory", "80"], ["with its unit"]),
    (["--device-memory", "80 parsecs"], ["with its unit"]),
    (["--device-memory", "-1GiB"], ["above 0"]),
    (["--device-memory", "nanGiB"], ["above 0"]),
    (["--device-memory", "9e99TiB"], ["between 1 MiB and 1024 TiB"]),
    (["--ranks-per-host", "0"], ["--ranks-per-host 0"]),
    (["--precision", "bf17"], ["--precision bf17: must be fp32, bf16 or fp64"]),
    (["--precision", "fp32", "--device", "h100"], ["training.precision = FP32: must be BF16 with parallel.device CUDA"]),
    (["--precision", "bf16", "--set", "training.precision=BF16"], ["--set training.precision=BF16: --precision sets", "leave out one"]),
    (["--search", "0", "--device", "h100"], ["--search 0"]),
    (["--search", "1000000000", "--device", "h100"], ["--search 1000000000", "1048576"]),
    (["--search", "64"], ["--search compares meshes by step time, which needs --device"]),
    (["--search", "64", "--mesh", "dp=64", "--device", "h100"], ["leave out --mesh"]),
    (["--mesh", "tp=8", "--set", "parallel.context_parallel=4"], ["--set parallel.context_parallel=4", "--mesh sets the three axes"]),
    (["--mesh", "tp=8", "--set", "parallel={context_parallel: 4}"], ["--set parallel={context_parallel: 4}: --mesh sets the three axes"]),
    (["--search", "64", "--device", "h100", "--set", "parallel.tensor_parallel=8"], ["--set parallel.tensor_parallel=8", "--search sets"]),
]


def plan(folder, *words, config=R7B):
    done = ropewalk("plan", config, *words, "--json", cwd=folder)
    expect(done.code == 0, done)
    return json.loads(done.out)


def wrong_words_are_refused_with_what_to_write(folder):
    for words, parts in REFUSED:
        done = ropewalk("plan", R7B, *words, cwd=folder)
        expect(done.code == 2 and all(part in done.err for part in parts) and not done.out, (words, done))


def seven_ranks_that_model_and_batch_do_not_allow(folder):
    """The reasons are those of the configuration's own rules."""
    long = (folder / "tiny.textproto").read_text().replace("sequence_length: 64", "sequence_length: 6")
    (folder / "short.textproto").write_text(long)
    done = ropewalk("plan", "short.textproto", "--search", "7", "--device", "cpu", cwd=folder)
    expect(done.code == 2 and "--search 7: the configuration allows no mesh of 7 ranks" in done.err and "training.batch" in done.err, done)


def memory_is_compared_with_what_a_rank_has(folder):
    words = ["--mesh", "cp=8,tp=4", "--set", "parallel.device=CUDA"]
    roomy, tight = plan(folder, *words, "--device-memory", "80GiB"), plan(folder, *words, "--device-memory", "8GB")
    memory, kinds = roomy["memory"], roomy["stages"][0]["memory_bytes"]
    expect(memory["limit"] == 80 << 30 and memory["fits"] and memory["source"] == "--device-memory" and "advice" not in roomy, memory)
    expect(tight["memory"]["limit"] == 8 * 10**9 and not tight["memory"]["fits"], tight["memory"])
    parts = sum(kinds[kind] for kind in ("weights", "gradients", "optimizer", "activations", "working", "cuda_context", "nccl"))
    expect(kinds["total"] == memory["needed"] == parts and kinds["nccl"] > 0, kinds)
    expect(kinds["host_total"] == kinds["sequences"] + kinds["messages"] + kinds["program"] and "host_total" not in plan(folder)["stages"][0]["memory_bytes"], kinds)
    expect(plan(folder, "--mesh", "tp=8", "--device", "h200")["memory"]["limit"] >> 30 == 139, "h200")
    text = ropewalk("plan", R7B, *words, "--device-memory", "80GiB", cwd=folder).out
    expect("It fits: a rank needs" in text and "CUDA context" in text and "an estimate" in text, text)


def a_host_shares_what_it_has_free_among_its_ranks(folder):
    one = plan(folder, config="tiny.textproto")["memory"]
    two = plan(folder, "--mesh", "dp=2", "--ranks-per-host", "2", config="tiny.textproto")["memory"]
    expect("this host" in one["source"] and one["fits"] and 0.3 < two["limit"] / one["limit"] < 0.7, (one, two))


def advice_is_true(folder):
    """Each setting saves what a plan with it says; the smallest change fits."""
    words = ["--set", "parallel.device=CUDA", "--set", "training.micro_batch=2", "--device-memory"]
    out = plan(folder, "--mesh", "cp=4,tp=2", *words, "40GiB")
    changes = out["advice"]["changes"]
    by_setting = {change["settings"][0]: change for change in changes}
    for setting in ("training.recompute=BLOCK", "training.micro_batch=1", "parallel.tensor_parallel=4", "parallel.context_parallel=8"):
        change = by_setting[setting]
        mesh = {"context": "cp=8,tp=2", "tensor": "cp=4,tp=4"}.get(setting.split(".")[1].split("_")[0], "cp=4,tp=2")
        again = plan(folder, "--mesh", mesh, *words, "40GiB", *([] if "_parallel" in setting else ["--set", setting]))
        expect(again["memory"]["needed"] == change["needed"] == out["memory"]["needed"] - change["saved"], (setting, change))
        expect(change["fits"] == (change["needed"] <= 40 << 30), change)
    expect(by_setting["training.recompute=BLOCK"]["arithmetic_more"] > 0.1, by_setting)
    expect(by_setting["training.micro_batch=1"]["ranks_more"] == 0 and by_setting["parallel.tensor_parallel=4"]["ranks_more"] == 8, by_setting)
    smallest = out["advice"]["smallest"]
    expect(smallest["fits"] and smallest["needed"] <= 40 << 30, smallest)
    text = ropewalk("plan", R7B, "--mesh", "cp=4,tp=2", *words, "40GiB", cwd=folder).out
    expect("It does not fit" in text and "The smallest change that fits: --set " in text, text)
    fits = ropewalk("plan", R7B, "--mesh", "cp=4,tp=2", *words, "4TiB", "--advice", cwd=folder).out
    expect("It fits" in fits and "--set" not in fits.split("settings that reduce memory")[0] and "training.recompute=BLOCK" in fits, fits)


def advice_is_true_of_ranks_that_share_a_host(folder):
    """Every change of the axes of the mesh, planned: it fits, or does not, as the advice says. Weights that nearly fill this host."""
    words = ["--set", "parallel.device=CPU", "--ranks-per-host", "4"]
    free = plan(folder, config="tiny.textproto")["memory"]["limit"]
    layers = int(free / (plan(folder, "--mesh", "dp=1", *words, "--set", "model.layers=1")["memory"]["needed"])) or 1
    while True:
        layers += 1
        sized = [*words, "--set", f"model.layers={layers}"]
        out = plan(folder, "--mesh", "dp=1", *sized)
        if not out["memory"]["fits"]:
            break
    axes = {"data": "dp", "context": "cp", "tensor": "tp"}
    tried = [change for change in out["advice"]["changes"] if change["ranks_more"] in (1, 3)]
    expect(len(tried) >= 2, out["advice"])
    for change in tried:
        axis, size = change["settings"][0].removeprefix("parallel.").split("_parallel=")
        again = plan(folder, "--mesh", f"{axes[axis]}={size}", *sized)["memory"]
        expect(again["needed"] == change["needed"] and again["limit"] < 0.6 * free, (again, change))
        if abs(again["needed"] / again["limit"] - 1) > 0.05:  # free memory changes
            expect(again["fits"] == change["fits"], (again, change))


def ranks_that_share_cpus_share_their_copies(folder):
    words = ["--mesh", "dp=64", "--set", "training.batch=64", "--device", "cpu", "--ranks-per-host", "128"]
    machine = plan(folder, *words, config="tiny.textproto")["machine"]
    expect(abs(machine["links"]["inside"] / machine["memory_bytes_per_second"] - 0.5) < 1e-9, machine)
    cpus = len(os.sched_getaffinity(0))
    expect(cpus >= 64 or machine["source"].endswith(f"; {cpus} CPU{'s' if cpus > 1 else ''} for 64 ranks"), machine)
    given = plan(folder, *words, "--links", "shm=3", config="tiny.textproto")["machine"]["links"]
    expect(given["inside"] == 3e9, given)


def links_have_their_names_and_sources(folder):
    text = ropewalk("plan", R7B, "--mesh", "cp=2", "--device", "l40s", "--links", "net=1800", cwd=folder).out
    expect("pcie 28 GB/s within its host (usual for l40s), net 1800 GB/s to other hosts\n" in text and "pcie (28 GB/s)" in text, text)
    expect("nvlink" not in text, text)


def a_gpu_that_cannot_be_used_is_explained(folder):
    """Of a configuration for CUDA, on a host without a usable GPU."""
    text = ropewalk("plan", R7B, "--mesh", "dp=1", "--set", "parallel.device=CUDA", cwd=folder).out
    search = ropewalk("plan", R7B, "--search", "8", "--set", "parallel.device=CUDA", cwd=folder)
    if "Whether a rank fits is unknown" in text:
        expect("unknown (this host's GPU cannot be used: " in text, text)
        expect(search.code == 2 and "needs --device" in search.err and "this host's GPU" in search.err, search)


def a_step_on_an_h100_takes_what_was_measured(folder):
    """8 layers of Command R7B's shape at 8k tokens, one sequence: MFU 0.536 (README.md)."""
    words = ["--mesh", "dp=1", "--device", "h100", "--set", "model.layers=8", "--set", "training.batch=1"]
    time = plan(folder, *words)["stages"][0]["time"]
    expect(abs(time["mfu"] / 0.536 - 1) < 0.05, time)
    parts = time["products"] + time["full_attention"] + time["sliding_attention"] + time["memory"] + time["exposed"]
    expect(abs(parts / time["seconds"] - 1) < 1e-9 and time["exposed"] == 0, time)
    # A peak that is set replaces the data sheet's.
    half = plan(folder, *words, "--set", "output.peak_flops=494.7e12")
    expect(half["machine"]["peak_flops"] == 494.7e12 and half["stages"][0]["time"]["products"] == 2 * time["products"], half["machine"])


def slower_links_take_longer(folder):
    def exposed(links, *words):
        out = plan(folder, "--mesh", "dp=2,cp=4,tp=4", "--device", "h100", "--links", links, *words)["stages"][0]["time"]
        return {part["name"]: part["exposed"] for part in out["communication"]}, {part["name"]: part["inside_a_host"] for part in out["communication"]}

    usual, where = exposed("nvlink=450,net=50")
    expect(where["tensor"] and not where["ring"] and not where["gradients"], where)
    slow, _ = exposed("nvlink=45,net=50")
    expect(abs(slow["tensor"] / usual["tensor"] - 10) < 1e-6 and slow["gradients"] == usual["gradients"], (usual, slow))
    slow, _ = exposed("nvlink=450,net=0.5")
    expect(slow["ring"] > usual["ring"] and slow["halo"] > usual["halo"] and slow["tensor"] == usual["tensor"], (usual, slow))
    _, where = exposed("nvlink=450", "--ranks-per-host", "32")
    expect(all(where.values()), where)


def this_hosts_cpu_is_measured(folder):
    out = plan(folder, "--device", "cpu", config="tiny.textproto")
    machine = out["machine"]
    expect(1e9 < machine["peak_flops"] < 1e12 and "just now" in machine["source"] and out["stages"][0]["time"]["seconds"] > 0, machine)
    given = plan(folder, "--device", "cpu", "--set", "output.peak_flops=5e10", config="tiny.textproto")["machine"]
    expect(given["peak_flops"] == 5e10 and "output.peak_flops" in given["source"], given)
    text = ropewalk("plan", "tiny.textproto", "--device", "cpu", cwd=folder).out
    expect("a model, not a measurement" in text and "MFU" in text, text)


def a_plan_is_made_in_the_precision_of_the_run(folder):
    """Weights of two bytes beside master weights and moments of four; half the activations and half of the bytes that the forward sends."""
    words = ["--mesh", "cp=2", "--device", "cpu"]
    single, mixed = plan(folder, *words, config="tiny.textproto"), plan(folder, *words, "--precision", "bf16", config="tiny.textproto")
    expect((single["precision"], mixed["precision"]) == ("fp32", "bf16"), (single, mixed))
    expect("a matrix product and attention in bf16 and a copy" in mixed["machine"]["source"], mixed["machine"])
    ours, theirs = mixed["stages"][0]["memory_bytes"], single["stages"][0]["memory_bytes"]
    expect(2 * ours["weights"] == theirs["weights"] and ours["gradients"] == theirs["gradients"], (ours, theirs))
    expect(ours["optimizer"] == theirs["optimizer"] + theirs["weights"] // 2, "master weights, of which each of two ranks has half")
    expect(0.4 < ours["activations"] / theirs["activations"] < 0.55, (ours, theirs))
    sent = [stage["stages"][0]["bytes_sent"]["sequence"]["a_rank"] for stage in (mixed, single)]
    expect(0.5 < sent[0] / sent[1] < 1, sent)
    expect(plan(folder, *words, "--set", "training.precision=BF16", config="tiny.textproto")["stages"][0]["memory_bytes"] == ours, ours)
    text = ropewalk("plan", "tiny.textproto", *words, "--precision", "bf16", cwd=folder).out
    expect(text.startswith("tiny.textproto on 2 ranks: data 1 x context 2 x tensor 1, bf16\n"), text)


def a_search_finds_the_fastest_mesh_that_fits(folder):
    words = ["--search", "16", "--device", "h100", "--set", "data.sequence_length=65536"]
    out = plan(folder, *words)
    expect(out["shapes"] == 15 and 0 < out["too_large"] and len(out["best"]) == out["allowed"] - out["too_large"] > 5, out)
    expect(out["work"] == "training step" and out["smallest"] is None, out)
    seconds = [choice["seconds"] for choice in out["best"]]
    expect(seconds == sorted(seconds), seconds)
    for choice in out["best"]:
        mesh = choice["mesh"]
        expect(mesh["data"] * mesh["context"] * mesh["tensor"] == 16 and choice["memory_bytes"] <= out["memory"]["limit"], choice)
    best = out["best"][0]
    again = plan(folder, "--mesh", "dp={data},cp={context},tp={tensor}".format(**best["mesh"]), *words[2:])
    expect(abs(again["stages"][0]["time"]["seconds"] / best["seconds"] - 1) < 1e-9 and again["memory"]["needed"] == best["memory_bytes"], (best, again))
    none = ropewalk("plan", R7B, *words, "--device-memory", "2GiB", cwd=folder)
    expect(none.code == 0 and "None fits" in none.out and "needs least" in none.out, none)
    smallest = plan(folder, *words, "--device-memory", "2GiB")
    expect(smallest["best"] == [] and smallest["smallest"]["memory_bytes"] > 2 << 30, smallest)


def a_search_for_evaluation_ranks_by_tokens(folder):
    """Data ranks send nothing in a forward pass, and each has a micro-batch: the mesh of data ranks alone is the fastest."""
    out = plan(folder, "--search", "8", "--device", "h100", "--inference")
    best = out["best"][0]
    expect(best["mesh"] == {"data": 8, "context": 1, "tensor": 1} and out["work"].startswith("forward pass"), best)
    rates = [choice["tokens_per_second"] for choice in out["best"]]
    expect(rates == sorted(rates, reverse=True) and best["seconds"] > min(choice["seconds"] for choice in out["best"]), out["best"])
    again = plan(folder, "--mesh", "dp=8", "--device", "h100", "--inference")["stages"][0]["time"]
    expect(abs(again["tokens_per_second"] / rates[0] - 1) < 1e-9, (again, best))
    text = ropewalk("plan", R7B, "--search", "8", "--device", "h100", "--inference", cwd=folder).out
    expect("tokens/s" in text and " pass " in text, text)


def the_help_has_examples_that_work(folder):
    told = ropewalk("plan", "--help", cwd=folder)
    examples = told.out.split("Examples:")[1].replace("\\\n", " ").strip().splitlines()
    expect(len(examples) >= 4, told)
    for example in examples:
        words = example.replace("configs/", str(ROOT) + "/configs/").split()
        expect(words[0] == "ropewalk", example)
        done = ropewalk(*words[1:], cwd=folder)
        expect(done.code == 0, (example, done))


def data_are_looked_at_before_memory_is_taken(folder):
    """A sequence that is longer than the data, of a model for which there is no room: the data are the error."""
    words = ["--set", "data.sequence_length=100000", "--set", "model.layers=4000", "--set", "model.width=8192", "--set", "model.hidden=65536"]
    done = ropewalk("train", "tiny.textproto", *words, cwd=folder)
    expect(done.code == 3 and "data.sequence_length" in done.err and "prepare more text" in done.err and "memory" not in done.err, done)


def out_of_memory_names_what_helps(folder):
    """Weights of 6.6 TB, which Linux refuses at once unless it promises everything (vm.overcommit_memory 1)."""
    if pathlib.Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "1":
        return
    done = ropewalk("train", "tiny.textproto", "--set", "model.width=8192", "--set", "model.hidden=65536", "--set", "model.layers=1024", cwd=folder)
    expect(done.code == 7 and "training.recompute" in done.err and "activation checkpointing" in done.err, done)
    expect("`ropewalk plan tiny.textproto --advice`" in done.err and "planned for rank 0" in done.err, done)


sys.exit(main([wrong_words_are_refused_with_what_to_write, seven_ranks_that_model_and_batch_do_not_allow, memory_is_compared_with_what_a_rank_has,
               a_host_shares_what_it_has_free_among_its_ranks, advice_is_true, advice_is_true_of_ranks_that_share_a_host, ranks_that_share_cpus_share_their_copies,
               links_have_their_names_and_sources, a_gpu_that_cannot_be_used_is_explained, a_search_for_evaluation_ranks_by_tokens, a_step_on_an_h100_takes_what_was_measured, slower_links_take_longer,
               this_hosts_cpu_is_measured, a_plan_is_made_in_the_precision_of_the_run, a_search_finds_the_fastest_mesh_that_fits, the_help_has_examples_that_work,
               data_are_looked_at_before_memory_is_taken, out_of_memory_names_what_helps]))
