"""`ropewalk tokenizer`: encode, decode, train and show; a run with a tokenizer of its own."""
import json
import random
import signal
import subprocess
import sys

from program import JOBS, PROGRAM, expect, main, ropewalk

WORDS = [f"{'aeiou'[i % 5]}{'bcdfg'[i // 5 % 5]}{'klmnr'[i // 25]}" for i in range(125)]


def write_text(folder, words=3000):
    draw = random.Random(7)
    (folder / "words.txt").write_text("".join(" ".join(draw.choices(WORDS, k=8)) + "\n" for _ in range(words // 8)))


def train(folder, output="learnt/tokenizer.json", vocabulary=320, *words):
    return ropewalk("tokenizer", "train", "--input", "words.txt", "--vocabulary", str(vocabulary), "--output", output, *words, cwd=folder)


def encode(folder, lines, *words, tokenizer="learnt"):
    return ropewalk("tokenizer", "encode", "--tokenizer", tokenizer, *words, cwd=folder, input=lines)


def decode(folder, lines, *words, tokenizer="learnt"):
    return ropewalk("tokenizer", "decode", "--tokenizer", tokenizer, *words, cwd=folder, input=lines)


def text_comes_back(folder):
    write_text(folder)
    expect(train(folder).code == 0, "train")
    texts = ["", "abk ebk", "  \n\t", "na\u00efve \u6f22\u5b57 \U0001F642", "a<|endoftext|>b", "\u0000\u007f"]
    lines = "".join(json.dumps({"id": 7, "text": text}) + "\n" for text in texts)
    encoded = encode(folder, lines)
    expect(encoded.code == 0 and len(encoded.out.splitlines()) == len(texts), encoded)
    ids = [json.loads(line)["ids"] for line in encoded.out.splitlines()]
    expect(ids[0] == [] and ids[4].count(0) == 1 and max(map(max, ids[1:])) < 320, ids)
    for options, expected in ([], [text.replace("<|endoftext|>", "") for text in texts]), (["--keep-special-tokens"], texts):
        decoded = decode(folder, encoded.out, *options)
        expect([json.loads(line)["text"] for line in decoded.out.splitlines()] == expected, decoded)
    # The bytes of a character that was cut become U+FFFD.
    cut = decode(folder, '{"ids": [240, 159, 153, 65]}\n', tokenizer="bytes")
    expect(json.loads(cut.out) == {"text": "\ufffdA"}, cut)


def wrong_lines_are_named(folder):
    write_text(folder)
    expect(train(folder).code == 0, "train")
    good = '{"text": "a"}\n'
    for line, what in (("", "not a JSON object"), ("[1]", "not a JSON object"), ('{"text": 1}', "not a string"), ('{"txt": "a"}', 'no member "text"'),
                       ('{"text": "a", "text": "b"}', "more than one"), ('{"text": "\\ud800"}', "JSON"), ('{"text": "a"', "JSON")):
        done = encode(folder, good + line + "\n" + good)
        expect(done.code == 3 and "standard input:2: " in done.err and what in done.err, done)
        expect(len(done.out.splitlines()) == 1, done)  # the lines before are answered
    for line, what in (('{"ids": [320]}', "from 0 to 319"), ('{"ids": [-1]}', "-1"), ('{"ids": [1.5]}', "1.5"), ('{"ids": "a"}', "not a list")):
        done = decode(folder, line)
        expect(done.code == 3 and "standard input:1: " in done.err and what in done.err, done)
    for words, what in ((["--tokenizer", "nowhere"], "no such file"), ([], "--tokenizer")):
        done = ropewalk("tokenizer", "encode", *words, cwd=folder, input=good)
        expect(done.code == 2 and what in done.err, done)
    (folder / "broken.json").write_text((folder / "learnt/tokenizer.json").read_text()[:-100])
    done = encode(folder, good, tokenizer="broken.json")
    expect(done.code == 3 and "broken.json: " in done.err, done)


def another_program_can_talk_to_it(folder):
    """A line is answered before the next one is sent; a closed output and a signal end it."""
    def started():
        process = subprocess.Popen([PROGRAM, "tokenizer", "encode", "--tokenizer", "bytes"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        JOBS.append(process)
        process.stdin.write('{"text": "Hi"}\n')
        process.stdin.flush()
        expect(json.loads(process.stdout.readline()) == {"ids": [72, 105]}, "the first line")
        return process
    process = started()
    process.stdin.write('{"text": "b"}')  # the last line may lack its newline
    out, err = process.communicate(timeout=20)
    expect((process.returncode, out, err) == (0, '{"ids": [98]}\n', ""), (process.returncode, out, err))
    process = started()
    process.send_signal(signal.SIGTERM)
    expect(process.wait(20) == 128 + signal.SIGTERM, process.stderr.read())
    process = started()
    process.stdout.close()
    process.stdin.write('{"text": "c"}\n')
    process.stdin.flush()
    expect(process.wait(20) == 128 + signal.SIGPIPE and process.stderr.read() == "", "a closed output")


def training_repeats_itself(folder):
    write_text(folder, 400_000)  # several batches
    for threads in "1", "2", "3":
        done = train(folder, f"t{threads}/tokenizer.json", 330, "--threads", threads, "--special-token", "<s>", "--special-token", "</s>")
        expect(done.code == 0, done)
    files = {(folder / f"t{threads}/tokenizer.json").read_bytes() for threads in "123"}
    expect(len(files) == 1, "different files")
    made = json.loads(files.pop())
    expect([token["content"] for token in made["added_tokens"]] == ["<s>", "</s>"] and len(made["model"]["vocab"]) == 330, made["added_tokens"])
    expect(json.loads((folder / "t1/tokenizer_config.json").read_text())["eos_token"] == "<s>", "eos_token")
    shown = ropewalk("tokenizer", "show", "--tokenizer", "t1", cwd=folder)
    expect(shown.code == 0 and "330" in shown.out and "<s>" in shown.out, shown)


def an_output_is_replaced_only_if_asked(folder):
    write_text(folder)
    expect(train(folder).code == 0, "train")
    before = (folder / "learnt/tokenizer.json").read_bytes()
    again = train(folder, "learnt/tokenizer.json", 300)
    expect(again.code == 2 and "learnt/tokenizer.json exists" in again.err and "--overwrite" in again.err, again)
    expect((folder / "learnt/tokenizer.json").read_bytes() == before, "replaced")
    expect(train(folder, "learnt/tokenizer.json", 300, "--overwrite").code == 0, "--overwrite")
    expect(len(json.loads((folder / "learnt/tokenizer.json").read_text())["model"]["vocab"]) == 300, "not replaced")
    (folder / "empty.txt").write_text("")
    for words, code, what in ((["--vocabulary", "256"], 2, "257"), (["--vocabulary", "9000"], 3, "the text gives only"),
                              (["--pattern", "gpt9"], 2, "gpt9"), (["--special-token", "a", "--special-token", "a"], 2, "given twice"),
                              (["--input", "empty.txt"], 3, "no text"), (["--minimum-count", "100000000"], 3, "the text gives only")):
        given = {"--input": ["words.txt"], "--vocabulary": ["320"], "--output": ["other/tokenizer.json"]}
        given.update({words[0]: words[1:]} if words[0] in given else {})
        rest = [] if words[0] in given else words
        done = ropewalk("tokenizer", "train", *[word for option, values in given.items() for word in (option, *values)], *rest, cwd=folder)
        expect(done.code == code and what in done.err, done)
        expect(not (folder / "other/tokenizer.json").exists(), "a failed training wrote a file")


def help_teaches(folder):
    for words in (["tokenizer", "--help"], ["help", "tokenizer"]):
        done = ropewalk(*words, cwd=folder)
        expect(done.code == 0 and all(name in done.out for name in ("encode", "decode", "train", "show")), done)
    done = ropewalk("tokenizer", cwd=folder)
    expect(done.code == 2 and "needs a second word" in done.err, done)
    done = ropewalk("tokenizer", "encode", "--help", cwd=folder)
    expect(done.code == 0 and "--add-special-tokens" in done.out, done)


sys.exit(main([text_comes_back, wrong_lines_are_named, another_program_can_talk_to_it, training_repeats_itself, an_output_is_replaced_only_if_asked,
               help_teaches]))
