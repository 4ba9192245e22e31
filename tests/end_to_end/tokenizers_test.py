"""A run uses the tokenizer that its data remember; data, checkpoints and requests of different tokenizers are refused, the same on every rank."""
import json
import unittest

from harness import RopewalkTest


class TokenizersTest(RopewalkTest):
    def setUp(self):
        super().setUp()
        self.check(self.start(0, ["tokenizer", "train", "--input", "text.jsonl", "--vocabulary", "280", "--special-token", "<end>",
                                  "--output", "learnt/tokenizer.json"]))
        self.prepare("learnt")
        self.settings = ["model.vocabulary=300", "data.prefix=learnt/text"]

    def prepare(self, name):
        self.check(self.start(0, ["prepare", "--input", "text.jsonl", "--tokenizer", name, "--output", f"{name}/text", "--overwrite"]))

    def refused(self, process, code, *parts):
        got, output = self.finish(process)
        self.assertEqual(got, code, output)
        for part in parts:
            self.assertEqual(output.count(part), 1, f"{part}\n{output}")

    def evaluate(self, *settings):
        return self.start(0, ["evaluate", "config.textproto", *[word for setting in settings for word in ("--set", setting)]])

    def test_of_the_data(self):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (self.directory / "learnt" / name).unlink()  # the data have their own
        output = self.check(self.train(2, "parallel.context_parallel=2", *self.settings, "validation.prompt=the rope"))
        self.assertRegex(output, r"sample after step 12:\n\s*the rope")
        manifest = (self.checkpoint(12) / "manifest.textproto").read_text()
        self.assertRegex(manifest, r'tokenizer \{\n  name: "tokenizer.json"\n  hash: "[0-9a-f]{32}"\n  vocabulary: 280\n  end_of_document: 0\n\}')
        self.check(self.train(1, *self.settings, "training.steps=14"))

    def test_of_a_checkpoint(self):
        self.check(self.train(1, *self.settings))
        self.prepare("bytes")
        others = [self.settings[0], "data.prefix=bytes/text"]
        told = ("the checkpoint run/checkpoints/step-00000012 and the data have different tokenizers: tokenizer.json (280 tokens, hash ",
                ", and bytes (257 tokens); ")
        self.refused(self.train(2, "parallel.data_parallel=2", *others, "training.steps=14"), 3, *told, "training.start_from")
        self.refused(self.evaluate(*others), 3, *told)
        self.check(self.evaluate(*self.settings))
        (self.directory / "asked.jsonl").write_text(json.dumps({"context": "the rope", "continuation": " walks."}) + "\n")
        score = ["evaluate", "--checkpoint", str(self.checkpoint(12)), "--requests", "asked.jsonl", "--output", "answers.jsonl", "--tokenizer"]
        self.refused(self.start(2, [*score, "bytes", "--mesh", "cp=2"]), 3, "--tokenizer have different tokenizers", "bytes (257 tokens)")
        self.check(self.start(2, [*score, "learnt", "--mesh", "cp=2"]))
        output = self.check(self.train(1, *others, "output.directory=other", f'training.start_from="{self.checkpoint(12)}"'))
        self.assertIn("warning: the data were made by the tokenizer bytes (257 tokens), but ", output)

    def test_of_the_configuration(self):
        self.refused(self.train(2, "parallel.data_parallel=2", *self.settings, "data.tokenizer=bytes"), 3,
                     "the data learnt/text and data.tokenizer have different tokenizers: tokenizer.json (280 tokens", "leave out data.tokenizer")
        self.refused(self.train(2, "parallel.data_parallel=2", "data.prefix=learnt/text"), 2, "set model.vocabulary to 280 or more")
        self.check(self.train(1, *self.settings, "data.tokenizer=learnt"))

    def test_of_data_that_remember_none(self):
        (self.directory / "learnt/text.dataset.json").unlink()
        self.refused(self.train(2, "parallel.data_parallel=2", *self.settings), 2, "validation.sample_tokens is 8", "data.tokenizer")
        self.check(self.train(1, *self.settings, "validation.sample_tokens=0"))
        self.assertNotIn("tokenizer {", (self.checkpoint(12) / "manifest.textproto").read_text())
        output = self.check(self.train(1, *self.settings, "data.tokenizer=learnt", "training.steps=14"))
        self.assertIn("sample after step 14", output)


if __name__ == "__main__":
    unittest.main(verbosity=2)
