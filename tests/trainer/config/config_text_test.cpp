// Parsing: every field reaches the Config; overrides, unknown names, places of errors, and the resolved text.
#include "tests/trainer/config/config_text.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "configs/ropewalk.pb.h"
#include "kernels/make_kernels.h"
#include "trainer/text/nearest.h"

namespace ropewalk {
namespace {

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << part << "\nis not in\n" << text;
}

TEST(Config, DefaultsOfTheSchemaAreThoseOfTheStructures) {
  const Config config = config_with({});
  const Config plain;
  EXPECT_EQ(config.model.norm_epsilon, plain.model.norm_epsilon);
  EXPECT_EQ(config.model.logit_scale, plain.model.logit_scale);
  EXPECT_EQ(config.model.initializer_range, plain.model.initializer_range);
  EXPECT_EQ(config.data.tokenizer, plain.data.tokenizer);
  EXPECT_EQ(config.data.validation_fraction, plain.data.validation_fraction);
  EXPECT_EQ(config.data.seed, plain.data.seed);
  EXPECT_EQ(config.training.stages[0].batch, plain.training.stages[0].batch);
  EXPECT_EQ(config.training.stages[0].micro_batch, plain.training.stages[0].micro_batch);
  EXPECT_EQ(config.training.learning_rate, plain.training.learning_rate);
  EXPECT_EQ(config.training.minimum_rate, plain.training.minimum_rate);
  EXPECT_EQ(config.training.warmup_steps, plain.training.warmup_steps);
  EXPECT_EQ(config.training.decay_steps, plain.training.decay_steps);
  EXPECT_EQ(config.training.schedule, plain.training.schedule);
  EXPECT_EQ(config.training.beta1, plain.training.beta1);
  EXPECT_EQ(config.training.beta2, plain.training.beta2);
  EXPECT_EQ(config.training.epsilon, plain.training.epsilon);
  EXPECT_EQ(config.training.weight_decay, plain.training.weight_decay);
  EXPECT_EQ(config.training.clip_norm, plain.training.clip_norm);
  EXPECT_EQ(config.training.seed, plain.training.seed);
  EXPECT_EQ(config.training.loss_chunk, plain.training.loss_chunk);
  EXPECT_EQ(config.parallel.mesh, plain.parallel.mesh);
  EXPECT_EQ(config.parallel.sequence_parallel, plain.parallel.sequence_parallel);
  EXPECT_EQ(config.parallel.backend, plain.parallel.backend);
  EXPECT_EQ(config.parallel.deterministic, plain.parallel.deterministic);
  EXPECT_EQ(config.parallel.device_transport, plain.parallel.device_transport);
  EXPECT_EQ(config.parallel.attention, plain.parallel.attention);
  EXPECT_EQ(config.parallel.deadline_seconds, plain.parallel.deadline_seconds);
  EXPECT_EQ(config.validation.interval, plain.validation.interval);
  EXPECT_EQ(config.validation.samples, plain.validation.samples);
  EXPECT_EQ(config.validation.position_ranges, plain.validation.position_ranges);
  EXPECT_EQ(config.validation.sample_interval, plain.validation.sample_interval);
  EXPECT_EQ(config.validation.sample_tokens, plain.validation.sample_tokens);
  EXPECT_EQ(config.validation.temperature, plain.validation.temperature);
  EXPECT_EQ(config.validation.prompt, plain.validation.prompt);
  EXPECT_EQ(config.checkpoint.interval, plain.checkpoint.interval);
  EXPECT_EQ(config.checkpoint.keep, plain.checkpoint.keep);
  EXPECT_EQ(config.output.log_interval, plain.output.log_interval);
}

TEST(Config, EveryFieldArrives) {
  const Config c = config_with({"model.layers=5",
                                "model.width=72",
                                "model.hidden=100",
                                "model.query_heads=6",
                                "model.key_heads=2",
                                "model.head_size=10",
                                "model.vocabulary=300",
                                "model.norm_epsilon=2e-5",
                                "model.logit_scale=0.25",
                                "model.initializer_range=0.5",
                                "data.prefix=p",
                                "data.tokenizer=bytes",
                                "data.sequence_length=64",
                                "data.validation_fraction=0.25",
                                "data.seed=18446744073709551615",
                                "training.steps=70",
                                "training.batch=8",
                                "training.micro_batch=4",
                                "training.learning_rate=0.5",
                                "training.minimum_rate=0.125",
                                "training.warmup_steps=3",
                                "training.schedule=WARMUP_STABLE_DECAY",
                                "training.decay_steps=4",
                                "training.beta1=0.5",
                                "training.beta2=0.75",
                                "training.epsilon=1e-6",
                                "training.weight_decay=0.3",
                                "training.clip_norm=2",
                                "training.seed=77",
                                "training.loss_chunk=9",
                                "parallel.data_parallel=2",
                                "parallel.context_parallel=3",
                                "parallel.tensor_parallel=2",
                                "parallel.sequence_parallel=false",
                                "parallel.device=REFERENCE",
                                "training.precision=FP64",
                                "parallel.deterministic=false",
                                "parallel.device_transport=STAGED",
                                "parallel.attention=HOPPER",
                                "parallel.deadline_seconds=1.5",
                                "validation.interval=11",
                                "validation.samples=12",
                                "validation.position_ranges=13",
                                "validation.sample_interval=14",
                                "validation.sample_tokens=15",
                                "validation.temperature=0",
                                "validation.prompt=In",
                                "checkpoint.interval=16",
                                "checkpoint.keep=17",
                                "output.directory=o",
                                "output.log_interval=18",
                                "model.pattern.1.qk_norm=LAYER_NORM"},
                               12);
  const LayerKind sliding{LayerKind::Mask::kSliding, 32, LayerKind::Position::kRope, 10000, LayerKind::QkNorm::kOff};
  const LayerKind full{LayerKind::Mask::kFull, 0, LayerKind::Position::kNone, 0, LayerKind::QkNorm::kLayerNorm};
  EXPECT_EQ(c.model.layers, (std::vector<LayerKind>{sliding, full, sliding, full, sliding}));
  EXPECT_EQ(c.model.width, 72);
  EXPECT_EQ(c.model.hidden, 100);
  EXPECT_EQ(c.model.query_heads, 6);
  EXPECT_EQ(c.model.key_heads, 2);
  EXPECT_EQ(c.model.head_size, 10);
  EXPECT_EQ(c.model.vocabulary, 300);
  EXPECT_EQ(c.model.norm_epsilon, 2e-5);
  EXPECT_EQ(c.model.logit_scale, 0.25);
  EXPECT_EQ(c.model.initializer_range, 0.5);
  EXPECT_EQ(c.training.stages[0].prefix, "p");
  EXPECT_EQ(c.data.tokenizer, "bytes");
  EXPECT_EQ(c.training.stages[0].sequence_length, 64);
  EXPECT_EQ(c.data.validation_fraction, 0.25);
  EXPECT_EQ(c.data.seed, 18446744073709551615u);
  EXPECT_EQ(c.training.steps, 70);
  EXPECT_EQ(c.training.stages[0].batch, 8);
  EXPECT_EQ(c.training.stages[0].micro_batch, 4);
  EXPECT_EQ(c.training.learning_rate, 0.5);
  EXPECT_EQ(c.training.minimum_rate, 0.125);
  EXPECT_EQ(c.training.warmup_steps, 3);
  EXPECT_EQ(c.training.schedule, TrainingConfig::Schedule::kWarmupStableDecay);
  EXPECT_EQ(c.training.decay_steps, 4);
  EXPECT_EQ(c.training.beta1, 0.5);
  EXPECT_EQ(c.training.beta2, 0.75);
  EXPECT_EQ(c.training.epsilon, 1e-6);
  EXPECT_EQ(c.training.weight_decay, 0.3);
  EXPECT_EQ(c.training.clip_norm, 2);
  EXPECT_EQ(c.training.seed, 77u);
  EXPECT_EQ(c.training.loss_chunk, 9);
  EXPECT_EQ(c.parallel.mesh, (MeshShape{2, 3, 2}));
  EXPECT_FALSE(c.parallel.sequence_parallel);
  EXPECT_EQ(c.parallel.backend, BackendKind::kReferenceF64);
  EXPECT_FALSE(c.parallel.deterministic);
  EXPECT_EQ(c.parallel.device_transport, DeviceTransport::kStaged);
  EXPECT_EQ(c.parallel.attention, AttentionForm::kHopper);
  EXPECT_EQ(c.parallel.deadline_seconds, 1.5);
  EXPECT_EQ(c.validation.interval, 11);
  EXPECT_EQ(c.validation.samples, 12);
  EXPECT_EQ(c.validation.position_ranges, 13);
  EXPECT_EQ(c.validation.sample_interval, 14);
  EXPECT_EQ(c.validation.sample_tokens, 15);
  EXPECT_EQ(c.validation.temperature, 0);
  EXPECT_EQ(c.validation.prompt, "In");
  EXPECT_EQ(c.checkpoint.interval, 16);
  EXPECT_EQ(c.checkpoint.keep, 17);
  EXPECT_EQ(c.output.directory, "o");
  EXPECT_EQ(c.output.log_interval, 18);
}

void expect_every_default_written(const google::protobuf::Message& message) {
  const auto& reflection = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const auto* field = message.GetDescriptor()->field(i);
    if (field->is_repeated()) {
      for (int entry = 0; entry < reflection.FieldSize(message, field); ++entry)
        expect_every_default_written(reflection.GetRepeatedMessage(message, field, entry));
    } else if (field->message_type()) {
      expect_every_default_written(reflection.GetMessage(message, field));
    } else if (field->has_default_value()) {
      EXPECT_TRUE(reflection.HasField(message, field)) << field->full_name();
    }
  }
}

TEST(ResolvedText, HoldsEveryFieldAndLoadsToItself) {
  const Config config =
      config_with({"validation.prompt=\"a\\n\\\"b\\xff\\000c\"", "training.learning_rate=0.1",
                   "model.norm_epsilon=1.2345678901234567e-7", "training.batch=4", "data.prefix=a b\\c\"d"},
                  4);
  EXPECT_EQ(config.validation.prompt, std::string("a\n\"b\xff\0c", 7));
  EXPECT_EQ(config.training.stages[0].prefix, "a b\\c\"d");

  proto::Config message;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(config.resolved_text, &message));
  expect_every_default_written(message);
  EXPECT_EQ(message.parallel().data_parallel(), 4);

  const Config again = parse_config(config.resolved_text, "again", {}, 4);
  EXPECT_EQ(again.resolved_text, config.resolved_text);
  EXPECT_EQ(again.model.layers, config.model.layers);
  EXPECT_EQ(again.model.norm_epsilon, config.model.norm_epsilon);  // bitwise
  EXPECT_EQ(again.training.learning_rate, config.training.learning_rate);
  EXPECT_EQ(again.validation.prompt, config.validation.prompt);
  EXPECT_EQ(again.training.stages[0].prefix, config.training.stages[0].prefix);
}

TEST(Overrides, LaterOnesWin) {
  EXPECT_EQ(config_with({"training.steps=5", "training.steps=6"}).training.steps, 6);
  // A valid value replaces an earlier one that is out of range.
  EXPECT_EQ(refusal(kSmallest, {"training.steps=0", "training.steps=6"}), "");
}

TEST(Overrides, StringsNeedNoQuotes) {
  EXPECT_EQ(config_with({"data.prefix=with space=and#sign"}).training.stages[0].prefix, "with space=and#sign");
  EXPECT_EQ(config_with({"data.prefix=\"quoted\""}).training.stages[0].prefix, "quoted");
  EXPECT_EQ(config_with({"data.prefix='quoted'"}).training.stages[0].prefix, "quoted");
  EXPECT_EQ(config_with({"validation.prompt="}).validation.prompt, "");
  expect_contains(refusal(kSmallest, {"data.prefix=\"open"}), "--set data.prefix=\"open: syntax: ");
}

TEST(Overrides, ReachEntriesOfTheListAndAddToIt) {
  EXPECT_EQ(config_with({"model.pattern.0.window=7"}).model.layers[2].window, 7);
  const Config three = config_with({"model.pattern.2.position=ROPE", "model.pattern.2.theta=5"});
  EXPECT_EQ(three.model.layers[2].theta, 5);
  EXPECT_EQ(three.model.layers[5].theta, 5);
  const Config one = config_with({"model.pattern={ qk_norm: LAYER_NORM }"});
  EXPECT_EQ(one.model.layers, (std::vector<LayerKind>(8, {.qk_norm = LayerKind::QkNorm::kLayerNorm})));
  const Config two = config_with({"model.pattern=[{ mask: SLIDING window: 3 }, {}]"});
  EXPECT_EQ(two.model.layers[6].window, 3);
  EXPECT_EQ(two.model.layers[7].window, 0);
}

TEST(Overrides, WrongOnesSayWhatIsRight) {
  const std::pair<const char*, const char*> cases[] = {
      {"steps=5", "steps is not a field of the configuration; did you mean training.steps?"},
      {"training.step=5", "training.step is not a field of the configuration; did you mean training.steps?"},
      {"trainin.steps=5", "trainin is not a field of the configuration; did you mean training?"},
      {"tokeniser=bytes", "tokeniser is not a field of the configuration; did you mean data.tokenizer?"},
      {"data.tokeniser=bytes", "data.tokeniser is not a field of the configuration; did you mean data.tokenizer?"},
      {"seq_length=5", "did you mean data.sequence_length?"},
      {"parallel.tensor_model_parallel_size=2", "did you mean parallel.tensor_parallel?"},
      {"qqqqqqqqqqqqq=5", "qqqqqqqqqqqqq is not a field of the configuration; `ropewalk schema` lists them"},
      {"training.steps.x=5", "training.steps has no fields of its own; set it by --set training.steps=VALUE"},
      {"training=5", "training = 5: is a group of fields, written training { ... }"},
      {"model.pattern.window=5",
       "model.pattern is a list of 2 entries; an entry's field is named model.pattern.INDEX.FIELD"},
      {"model.pattern.3.window=5", "use an index from 0 to 2 (2 adds an entry)"},
      {"model.pattern.-1.window=5", "use an index from 0 to 2"},
      {"model.pattern.99999999999999999999.window=5", "use an index from 0 to 2"},
      {"model.pattern.0=5", "an entry's field is named"},
      {"model.pattern.0.windov=5",
       "model.pattern.0.windov is not a field of the configuration; did you mean model.pattern.0.window?"},
      {"training.steps=5 6", "syntax: expected one value, found '6'"},
      {"training.steps=", "syntax: expected a value, found the end"},
      {"training.steps=5.5", "training.steps = 5.5: must be a whole number"},
      {"training.steps=9223372036854775808",
       "training.steps = 9223372036854775808: must be at least 1 and at most 1000000000000"},
      {"training.steps=-1000000000000000000000", "must be at least 1 and at most 1000000000000"},
      {"parallel.data_parallel=2147483648", "must be at least 0 and at most 1048576"},
      {"model.pattern.0.window=9223372036854775808", "must be at least 1 and at most 2147483647"},
      {"data.seed=18446744073709551616", "must be at least 0 and at most 18446744073709551615"},
      {"data.seed=-1", "data.seed = -1: must be a whole number, not negative"},
      {"training.learning_rate=fast", "must be a number"},
      {"parallel.sequence_parallel=yes", "must be true or false"},
      {"parallel.device=cuda", "must be one of CPU, CUDA, REFERENCE; did you mean CUDA?"},
      {"parallel.device=7", "must be one of CPU, CUDA, REFERENCE"},
      {"=5", "is not of the form FIELD=VALUE"},
      {"", "is not of the form FIELD=VALUE"},
      {".=5", "is not a field of the configuration"},
  };
  for (const auto& [assignment, said] : cases) {
    const std::string message = refusal(kSmallest, {assignment});
    expect_contains(message, said);
    expect_contains(message, fmt::format("--set {}", *assignment ? assignment : "''"));
  }
}

TEST(Text, IsRefusedWithLineAndColumn) {
  const std::pair<const char*, const char*> cases[] = {
      {"model {\n  layers: 8\n", "1 problem:\n  1. run.textproto:1:7: syntax: this '{' is never closed"},
      {"model {\n  layers: 8\n pattern {\n} data <", "run.textproto:4:8: syntax: this '<' is never closed"},
      {"model {\n pattern: [\n {}", "run.textproto:2:11: syntax: this '[' is never closed"},
      {"model {\n pattern: [ {}, ] }", "run.textproto:2:17: syntax: expected a value, found ']'"},
      {"data {\n sequence_length:", "run.textproto:1:6: syntax: this '{' is never closed"},
      {"data { }\nunknown {\n a { }\n b: 1", "run.textproto:2:9: syntax: this '{' is never closed"},
      {"data: ", "run.textproto:1:7: syntax: expected a value, found the end"},
      {"model {\n  layers 8 }", "run.textproto:2:10: syntax: expected ':', found '8'"},
      {"}", "run.textproto:1:1: syntax: expected the name of a field, found '}'"},
      {"model 5", "run.textproto:1:7: syntax: expected '{', found '5'"},
      {"model: 5", "run.textproto:1:1: model = 5: is a group of fields, written model { ... }"},
      {"data { prefix: \"abc\n\" }", "run.textproto:1:20: syntax: String literals cannot cross line boundaries."},
      {"data { sequence_length: }", "syntax: expected a value, found '}'"},
      {"data {\n prefix: \"\\q\" }", "run.textproto:2:"},
      {"training { steps: 1 steps: 2 }", "training.steps is set twice, first at run.textproto:1:12; keep one of them"},
      {"training { } training { }", "run.textproto:1:14: training is set twice, first at run.textproto:1:1"},
      {"training { steps: { a: 1 } }", "training.steps = {: must be a whole number"},
      {"training { unknown_thing { a: [1, <b: 2>, \"}\"] } steps: 0 }", "training.steps = 0: must be at least 1"},
      {"model { pattern: 5 }", "model.pattern = 5: is a group of fields"},
      {"model { pattern [ {} {} ] }", "syntax: expected ',' or ']', found '{'"},
      {"[ropewalk.extension]: 1", "syntax: expected the name of a field"},
      {"\x01", "run.textproto:1:1: syntax: a control character; is this the right file?"},
      {"caf\xc3\xa9: 1", "run.textproto:1:4: syntax: a character that is not ASCII"},
      {"\xef\xbb\xbfmodel { }", "run.textproto: starts with a byte-order mark; save it as UTF-8 without one"},
      {"\xff\xfem\xff", "run.textproto: starts with a byte-order mark of UTF-16; save it as UTF-8 without one"},
  };
  for (const auto& [text, said] : cases) expect_contains(refusal(text), said);
  expect_contains(refusal(std::string("m\0o\0d\0e\0l\0", 10)), "run.textproto: is not text: it has NUL bytes");
  expect_contains(refusal(""), "has 12 problems:");  // every field that must be set
}

// Problems in the second group are reported, and fields that only the second group sets are not missing.
TEST(Text, AGroupSetTwiceIsReadTwice) {
  const std::string message = refusal(
      "model { layers: 8 width: 64 }\n"
      "model { hidden: 96 query_heads: 12 key_heads: 4 head_size: many vocabulary: 257 layers: 0 patern {} }\n"
      "data { prefix: \"text\" sequence_length: 128 } training { steps: 100 steps: 200 } output { directory: \"run\" "
      "}");
  expect_contains(message, "has 5 problems:");
  expect_contains(message, "run.textproto:2:1: model is set twice, first at run.textproto:1:1; keep one of them");
  expect_contains(message, "run.textproto:2:49: model.head_size = many: must be a whole number");
  expect_contains(message, "run.textproto:2:81: model.layers = 0: must be at least 1");
  expect_contains(message, "run.textproto:2:91: model.patern is not a field");
  expect_contains(message, "training.steps is set twice, first at run.textproto:3:");  // as outside such a group
}

TEST(Text, SpeaksOfWhatIsMissingOnlyWhereItWasNotMeant) {
  const std::string message = refusal(std::string(kSmallest) + "checkpoint { kep: 1 }", {"training.steps=many"});
  expect_contains(message, "has 2 problems:");
  // Fields of a group that could not be read are not reported as missing.
  std::string text = kSmallest;
  text.replace(text.find("training { steps: 100 }"), 23, "training: 5");
  expect_contains(refusal(text), "has 1 problem:\n  1. run.textproto:8:1: training = 5: is a group of fields");
}

// After an override has replaced a list, messages do not name the old list's place in the file.
TEST(Overrides, TakeThePlaceOfWhatTheyReplace) {
  expect_contains(refusal(kSmallest, {"model.pattern={ mask: SLIDING }"}), "\n  1. model.pattern.0.window is not set");
  expect_contains(refusal(kSmallest, {"model.pattern.0.window=0"}),
                  "\n  1. --set model.pattern.0.window=0: model.pattern.0.window");
}

TEST(NearestName, IsTheOneAPersonWouldMean) {
  const std::vector<std::string> names = {"layers", "width", "window", "key_heads", "query_heads"};
  EXPECT_EQ(nearest_name("layres", names), "layers");
  EXPECT_EQ(nearest_name("with", names), "width");
  EXPECT_EQ(nearest_name("windows", names), "window");
  EXPECT_EQ(nearest_name("keyheads", names), "key_heads");
  EXPECT_EQ(nearest_name("temperature", names), "");
  EXPECT_EQ(nearest_name("", names), "");
  EXPECT_EQ(nearest_name(std::string(100'000, 'x'), names), "");
  EXPECT_EQ(edit_distance("ab", "ba"), 1);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("", "abc"), 3);
}

}  // namespace
}  // namespace ropewalk
