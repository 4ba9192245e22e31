"""`cmake --install`: the installation is complete, and works after the prefix is moved."""
import os
import pathlib
import sys

from program import MPIRUN, ROOT, expect, main, run

BUILD, CMAKE = os.environ["BUILD"], os.environ["CMAKE"]
SHORT = [word for setting in ("data.prefix=text", "data.sequence_length=128", "training.steps=3", "training.warmup_steps=1", "training.batch=2",
                              "output.directory=run") for word in ("--set", setting)]


def install(prefix, **variables):
    done = run(CMAKE, "--install", BUILD, "--prefix", str(prefix), env={**os.environ, **variables})
    expect(done.code == 0, done)


def a_prefix_trains_wherever_it_is_moved(folder):
    """The installed program, alone and under mpirun, with an installed preset."""
    install(folder / "first")
    prefix = (folder / "first").rename(folder / "moved")
    program, preset = str(prefix / "bin/ropewalk"), str(prefix / "share/ropewalk/configs/quickstart.textproto")
    for words in (["--version"], ["schema"], ["plan", preset, *SHORT]):
        done = run(program, *words, cwd=folder)
        expect(done.code == 0 and done.out, done)
    expect(run(program, "schema").out == (prefix / "share/ropewalk/configs/ropewalk.proto").read_text(), "the schema of another version")
    done = run(program, "prepare", "--input", "book.txt", "--output", "text", "--overwrite", cwd=folder)
    expect(done.code == 0, done)
    done = run(*MPIRUN, "--quiet", "-n", "4", program, "train", preset, *SHORT, cwd=folder)
    expect(done.code == 0 and "step 3/3" in done.err, done)
    done = run(str(prefix / "share/ropewalk/launch/plot.sh"), "run", cwd=folder)
    expect(done.code == 0 and "step 1" in done.out, done)


def the_cuda_backend_is_found(folder):
    """The program finds the backend by its own path alone. The test uses a backend of another build: the error that refuses it has its path."""
    install(folder / "first")
    prefix = (folder / "first").rename(folder / "moved")
    module = prefix / os.environ["LIBRARIES"] / "libropewalk_cuda.so"
    module.parent.mkdir(exist_ok=True)
    module.write_bytes(pathlib.Path(os.environ["ANOTHER_MODULE"]).read_bytes())
    without = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    on_cuda = ["--set", "parallel.device=CUDA", "--set", "model.head_size=64"]
    done = run(str(prefix / "bin/ropewalk"), "train", "tiny.textproto", *on_cuda, cwd=folder, env=without)
    expect(done.code == 2 and f"{prefix}/bin/../{os.environ['LIBRARIES']}/{module.name} is the CUDA backend of another" in done.err, done)


def every_preset_and_document_is_there(folder):
    """All presets and documents of the sources are installed. Nothing is outside the prefix, also under DESTDIR."""
    install("/opt/ropewalk", DESTDIR=str(folder / "stage"))
    prefix = folder / "stage/opt/ropewalk"
    presets = {path.name for path in (ROOT / "configs").glob("*.textproto")} | {"ropewalk.proto", "chat_template.proto", "templates"}
    expect({path.name for path in (prefix / "share/ropewalk/configs").iterdir()} == presets, presets)
    documents = prefix / "share/doc/ropewalk"
    guide = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "launch/guide").iterdir())
    for name in ("LICENSE", "README.md", "configs/README.md", "launch/README.md", *guide):
        expect((documents / name).read_bytes() == (ROOT / name).read_bytes(), name)
    expect(os.access(prefix / "bin/ropewalk", os.X_OK), "no program")
    expect([path.name for path in prefix.parent.iterdir()] == ["ropewalk"], "more than a prefix")


sys.exit(main([a_prefix_trains_wherever_it_is_moved, the_cuda_backend_is_found, every_preset_and_document_is_there]))
