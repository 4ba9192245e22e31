// Every rule of the configuration: what breaks it, and that the message names field, value, rule and remedy, and
// reports nothing else.
#include <gtest/gtest.h>

#include "tests/trainer/config/config_text.h"

namespace ropewalk {
namespace {

struct Case {
  std::vector<std::string> overrides;
  std::vector<std::string> said;  // all of these are in the message
  std::optional<int> world_size = std::nullopt;
};

void PrintTo(const Case& c, std::ostream* out) { *out << fmt::format("{}", fmt::join(c.overrides, " ")); }

class BrokenRule : public testing::TestWithParam<Case> {};

TEST_P(BrokenRule, IsToldOnceWithItsParts) {
  const std::string message = refusal(kSmallest, GetParam().overrides, GetParam().world_size);
  EXPECT_NE(message.find("has 1 problem:"), std::string::npos) << message;
  for (const std::string& part : GetParam().said)
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
}

// A stage with this blend.
Case blend(const std::string& entries, std::vector<std::string> said) {
  return {{"training.stages.0.first_step=40", "training.stages.0.blend=[" + entries + "]"}, std::move(said)};
}

INSTANTIATE_TEST_SUITE_P(
    Fields, BrokenRule,
    testing::Values(
        Case{{"model.layers=0"}, {"--set model.layers=0: model.layers = 0: must be at least 1"}},
        Case{{"model.layers=10001"}, {"model.layers = 10001: must be at least 1 and at most 10000"}},
        Case{{"model.layers=-9223372036854775808"}, {"must be at least 1"}},
        Case{{"model.width=-1"}, {"model.width = -1: must be at least 1"}},
        Case{{"model.hidden=0"}, {"model.hidden = 0"}},
        Case{{"model.query_heads=0"}, {"model.query_heads = 0: must be at least 1"}},
        Case{{"model.key_heads=0"}, {"model.key_heads = 0: must be at least 1"}},
        Case{{"model.head_size=0"}, {"model.head_size = 0: must be at least 1"}},
        Case{{"model.vocabulary=2147483648"}, {"at most 2147483647"}},
        Case{{"model.norm_epsilon=0"}, {"model.norm_epsilon = 0: must be greater than 0 and finite"}},
        Case{{"model.logit_scale=inf"}, {"model.logit_scale = inf: must be greater than 0 and finite"}},
        Case{{"model.initializer_range=nan"}, {"model.initializer_range = nan"}},
        Case{{"data.prefix="}, {"data.prefix is not set; add prefix: \"data/text\" to data { }"}},
        Case{{"data.prefix=\"a\\000b\""}, {"data.prefix = a?b: must be a path, without NUL bytes"}},
        Case{{"data.blend=[{prefix: \"a\" weight: 1}]"},
             {"data.prefix = text: is set, and data.blend too; leave one of them out (--set data.prefix= or --set "
              "data.blend=[] empties it)"}},
        Case{{"training.stages.0.first_step=10", "training.stages.0.prefix=b",
              "training.stages.0.blend=[{prefix: \"a\" weight: 1}]"},
             {"training.stages.0.prefix = b: is set, and training.stages.0.blend too"}},
        blend("{prefix: \"a\" weight: 0}", {"blend.0.weight = 0: must be greater than 0 and at most 1000000000"}),
        blend("{prefix: \"a\" weight: -1}", {"blend.0.weight = -1: must be greater than 0"}),
        blend("{prefix: \"a\" weight: nan}", {"blend.0.weight = nan: must be greater than 0"}),
        blend("{prefix: \"a\"}", {"blend.0.weight is not set; add weight: 0.5"}),
        blend("{weight: 1}", {"blend.0.prefix is not set; add prefix: \"data/long\""}),
        blend("{prefix: \"\" weight: 1}", {"blend.0.prefix is not set"}),
        blend("{prefix: \"a\" weight: 1}, {prefix: \"b\" weight: 1}, {prefix: \"a\" weight: 2}",
              {"blend.2.prefix = a: is in the blend already, as training.stages.0.blend.0.prefix; list it once"}),
        blend("{prefix: \"a\" weight: 1e6}, {prefix: \"b\" weight: 0.5}",
              {"blend.1.weight = 0.5: is 5e-07 of the blend's weights; it must be at least 1e-06; leave the dataset "
               "out"}),
        Case{{"data.sequence_length=1"}, {"data.sequence_length = 1: must be at least 2"}},
        Case{{"data.sequence_length=2147483648"}, {"at most 2147483647"}},
        Case{{"data.validation_fraction=1"}, {"must be at least 0 and less than 1"}},
        Case{{"data.validation_fraction=-0.1"}, {"must be at least 0 and less than 1"}},
        Case{{"training.steps=0"}, {"training.steps = 0: must be at least 1"}},
        Case{{"training.learning_rate=-1"}, {"training.learning_rate = -1: must be at least 0 and finite"}},
        Case{{"training.learning_rate=inf"}, {"training.learning_rate = inf: must be at least 0 and finite"}},
        Case{{"training.warmup_steps=-1"}, {"training.warmup_steps = -1: must be at least 0"}},
        Case{{"training.beta1=1"}, {"training.beta1 = 1: must be at least 0 and less than 1"}},
        Case{{"training.beta2=-0.5"}, {"training.beta2 = -0.5: must be at least 0 and less than 1"}},
        Case{{"training.epsilon=0"}, {"training.epsilon = 0: must be greater than 0"}},
        Case{{"training.weight_decay=-1"}, {"training.weight_decay = -1"}},
        Case{{"training.clip_norm=nan"}, {"training.clip_norm = nan: must be at least 0 and finite"}},
        Case{{"training.loss_chunk=0"}, {"training.loss_chunk = 0: must be at least 1"}},
        Case{{"training.batch=0"}, {"training.batch = 0: must be at least 1"}},
        Case{{"training.micro_batch=0"}, {"training.micro_batch = 0: must be at least 1"}},
        Case{{"parallel.data_parallel=-1"}, {"parallel.data_parallel = -1: must be at least 0"}, 4},
        Case{{"parallel.context_parallel=0"}, {"parallel.context_parallel = 0: must be at least 1"}, 4},
        Case{{"parallel.tensor_parallel=-2"}, {"parallel.tensor_parallel = -2: must be at least 1"}, 4},
        Case{{"parallel.deadline_seconds=0"}, {"parallel.deadline_seconds = 0: must be greater than 0"}},
        Case{{"parallel.deadline_seconds=1e300"}, {"at most 10000000"}},
        Case{{"validation.interval=-1"}, {"validation.interval = -1"}},
        Case{{"validation.samples=0"}, {"validation.samples = 0"}},
        Case{{"validation.position_ranges=0"}, {"validation.position_ranges = 0"}},
        Case{{"validation.temperature=-0.1"}, {"validation.temperature = -0.1"}},
        Case{{"checkpoint.interval=-1"}, {"checkpoint.interval = -1"}},
        Case{{"checkpoint.keep=-1"}, {"checkpoint.keep = -1"}},
        Case{{"output.directory="}, {"output.directory is not set; add directory: \"runs/first\" to output { }"}},
        Case{{"output.log_interval=0"}, {"output.log_interval = 0"}}));

INSTANTIATE_TEST_SUITE_P(
    BetweenFields, BrokenRule,
    testing::Values(
        Case{
            {"training.precision=FP64"},
            {"--set training.precision=FP64: training.precision = FP64: must be FP32 or BF16 with parallel.device CPU; "
             "set it so, or leave it out"}},
        Case{{"parallel.device=REFERENCE", "training.precision=BF16"},
             {"training.precision = BF16: must be FP64 with parallel.device REFERENCE"}},
        Case{{"parallel.device=CUDA", "model.head_size=64", "training.precision=FP32"},
             {"training.precision = FP32: must be BF16 with parallel.device CUDA"}},
        Case{{"model.query_heads=10"},
             {"model.query_heads = 10: must be a multiple of model.key_heads = 4", "to 8 or 12"}},
        Case{{"parallel.tensor_parallel=8", "model.query_heads=12"},
             {"model.query_heads = 12: must be a multiple of parallel.tensor_parallel = 8", "1, 2, 3, 4, 6 or 12"}},
        Case{{"parallel.tensor_parallel=6", "model.query_heads=12"},
             {"model.key_heads = 4: must be a multiple of parallel.tensor_parallel = 6, or divide it", "1, 2 or 4"}},
        Case{{"model.hidden=97", "parallel.tensor_parallel=2"},
             {"model.hidden = 97: must be a multiple of parallel.tensor_parallel = 2", "to 96 or 98"}},
        Case{{"model.head_size=15"}, {"model.head_size = 15: must be even", "set it to 16"}},
        Case{{"model.pattern=[]"}, {"model.pattern is empty"}},
        Case{{"model.pattern.1.window=8"}, {"model.pattern.1.window = 8: is for layers with mask: SLIDING"}},
        Case{{"model.pattern.0.window=0"}, {"model.pattern.0.window = 0: must be at least 1"}},
        Case{{"model.pattern.1.mask=SLIDING"}, {"model.pattern.1.window is not set", "add window: 4096"}},
        Case{{"model.pattern.1.theta=1e4"}, {"model.pattern.1.theta = 10000: is for layers with position: ROPE"}},
        Case{{"model.pattern.0.theta=0"}, {"model.pattern.0.theta = 0: must be greater than 0"}},
        Case{{"model.pattern.0.theta=inf"}, {"model.pattern.0.theta = inf: must be greater than 0 and finite"}},
        Case{{"model.pattern.1.position=ROPE"}, {"model.pattern.1.theta is not set", "add theta: 50000"}},
        Case{{"model.layers=10000", "model.width=16777216", "model.hidden=16777216", "model.query_heads=65536",
              "model.key_heads=65536", "model.head_size=65536"},
             {"parameters; at most 1.13e+15"}},
        Case{{"data.sequence_length=7", "parallel.context_parallel=4", "validation.position_ranges=1"},
             {"data.sequence_length = 7: must be at least 2 x parallel.context_parallel = 8"}},
        Case{{"model.vocabulary=256", "data.tokenizer=bytes"},
             {"model.vocabulary = 256: must be at least 257", "set it to 257"}},
        Case{{"parallel.device=CUDA", "model.head_size=80"},
             {"model.head_size = 80: must be 64 or 128 with parallel.device CUDA"}},
        Case{{"parallel.device=CUDA", "model.head_size=64", "model.width=100"},
             {"model.width = 100: must be a multiple of 8", "the nearest below is 96"}},
        Case{{"parallel.device=CUDA", "model.head_size=64", "model.query_heads=66", "model.key_heads=2"},
             {"model.query_heads = 66: is 33 to each of the 2 key heads; at most 32"}},
        Case{{"data.tokenizer=byts"}, {"data.tokenizer = byts: ", "bytes"}},
        Case{{"data.tokenizer=none"}, {"validation.sample_tokens = 200: must be 0 with data.tokenizer none"}},
        Case{{"validation.position_ranges=129"},
             {"validation.position_ranges = 129: must be at most data.sequence_length = 128"}},
        Case{{"training.batch=6", "training.micro_batch=4"},
             {"training.batch = 6: must be a multiple of data_parallel = 1 x training.micro_batch = 4", "to 4 or 8"}},
        Case{{"training.batch=3"},
             {"training.batch = 3: must be a multiple of data_parallel = 2 x training.micro_batch = 1"},
             2},
        Case{{"training.micro_batch=2147483647", "training.batch=2147483647"},
             {"training.micro_batch = 2147483647: times"}},
        Case{{"training.steps=1000000000000", "training.batch=16384"}, {"tokens; at most 1.15e+18"}},
        Case{{"training.minimum_rate=1"},
             {"training.minimum_rate = 1: must be at most training.learning_rate = 0.0003"}},
        Case{{"training.warmup_steps=101"}, {"training.warmup_steps = 101: must be at most training.steps = 100"}},
        Case{{"training.decay_steps=10"},
             {"training.decay_steps = 10: is for the schedule WARMUP_STABLE_DECAY; this one is COSINE"}},
        Case{{"training.schedule=WARMUP_STABLE_DECAY"}, {"training.decay_steps = 0: must be at least 1"}},
        Case{{"training.schedule=WARMUP_STABLE_DECAY", "training.decay_steps=60", "training.warmup_steps=41"},
             {"training.decay_steps = 60: and warmup_steps = 41 must be at most training.steps = 100 together"}},
        Case{{"parallel.context_parallel=3"}, {"must divide the number of ranks, which is 8", "start 6 ranks, or"}, 8},
        Case{{"parallel.context_parallel=2", "parallel.tensor_parallel=2", "parallel.data_parallel=4",
              "training.batch=4"},
             {"parallel.data_parallel = 4: times context_parallel = 2 times tensor_parallel = 2 is 16 ranks, but the "
              "job has 8",
              "start 16 ranks, or"},
             8},
        Case{{"parallel.context_parallel=1048576", "parallel.tensor_parallel=1", "parallel.data_parallel=1048576",
              "data.sequence_length=2097152", "training.batch=1048576"},
             {"is 1.1e+12 ranks; at most 1048576 can be"},
             1},
        Case{{"parallel.context_parallel=65536", "parallel.tensor_parallel=65536", "model.query_heads=65536",
              "model.hidden=65536", "data.sequence_length=131072"},
             {"times data_parallel = 1 times tensor_parallel = 65536 is 4.29e+09 ranks; at most 1048576 can be"}}));

// Two valid stages, and overrides that make them invalid.
Case staged(std::vector<std::string> overrides, std::vector<std::string> said,
            std::optional<int> world = std::nullopt) {
  Case c{{"training.stages.0.first_step=40", "training.stages.0.sequence_length=256", "training.stages.1.first_step=80",
          "training.stages.1.batch=2"},
         std::move(said),
         world};
  c.overrides.insert(c.overrides.end(), overrides.begin(), overrides.end());
  return c;
}

INSTANTIATE_TEST_SUITE_P(
    Stages, BrokenRule,
    testing::Values(
        staged({"training.stages.2.batch=2"}, {"training.stages.2.first_step is not set; add first_step: 800 to "
                                               "training.stages.2 { }, or --set training.stages.2.first_step=800"}),
        staged({"training.stages.0.first_step=0"},
               {"--set training.stages.0.first_step=0: training.stages.0.first_step = 0: must be at least 1"}),
        staged({"training.stages.1.first_step=100"},
               {"training.stages.1.first_step = 100: must be less than training.steps = 100", "leave the stage out"}),
        staged({"training.stages.1.first_step=40"},
               {"training.stages.1.first_step = 40: must be greater than training.stages.0.first_step = 40"}),
        staged({"training.stages.1.first_step=9223372036854775808"},
               {"training.stages.1.first_step = 9223372036854775808: must be at least 1 and at most 1000000000000"}),
        staged({"training.stages.0.sequence_length=1"}, {"training.stages.0.sequence_length = 1: must be at least 2"}),
        staged({"training.stages.0.sequence_length=7", "parallel.context_parallel=4", "validation.position_ranges=1"},
               {"training.stages.0.sequence_length = 7: must be at least 2 x parallel.context_parallel = 8"}),
        staged({"training.stages.0.batch=0"}, {"training.stages.0.batch = 0: must be at least 1"}),
        staged({"training.stages.0.micro_batch=0"}, {"training.stages.0.micro_batch = 0: must be at least 1"}),
        staged(
            {"training.stages.1.micro_batch=4"},
            {"training.stages.1.batch = 2: must be a multiple of data_parallel = 1 x training.stages.1.micro_batch = 4",
             "set training.stages.1.batch to 4"}),
        // A later stage inherits the first stage's batch, and has larger micro-batches.
        staged({"training.stages.0.micro_batch=2", "training.batch=5"},
               {"training.batch = 5: must be a multiple of data_parallel = 1 x training.stages.0.micro_batch = 2",
                "set training.batch to 4 or 6"}),
        staged({"training.batch=4", "training.stages.1.batch=3"},
               {"training.stages.1.batch = 3: must be a multiple of data_parallel = 2 x training.micro_batch = 1"}, 2),
        staged({"training.stages.0.sequence_length=2147483647", "training.micro_batch=2", "training.batch=2"},
               {"training.micro_batch = 2: times training.stages.0.sequence_length = 2147483647 must be at most"}),
        staged({"training.steps=1000000000000", "training.stages.1.first_step=999999999999",
                "training.stages.0.batch=16384", "training.stages.1.batch=1"},
               {"training.steps = 1000000000000: makes, with batch and sequence_length"}),
        staged({"training.stages.0.theta=0"}, {"training.stages.0.theta = 0: must be greater than 0 and finite"}),
        staged({"training.stages.0.theta=nan"}, {"training.stages.0.theta = nan: must be greater than 0"}),
        staged({"training.stages.1.theta=1e6", "model.pattern=[{mask: FULL}]"},
               {"training.stages.1.theta = 1000000: is the base of rotary angles, and no layer has them",
                "position: ROPE"}),
        staged({"training.stages.1.prefix="}, {"training.stages.1.prefix is not set; add prefix: \"data/long\""}),
        staged({"training.stages.1.prefix=\"a\\000b\""}, {"training.stages.1.prefix = a?b: must be a path"}),
        staged({"training.stages.1.sequence_length=3"},
               {"validation.position_ranges = 4: must be at most training.stages.1.sequence_length = 3"}),
        staged({"training.stages.1.seq_len=3"},
               {"training.stages.1.seq_len is not a field of the configuration; did you mean"}),
        staged({"training.stages.1.batch=many"}, {"training.stages.1.batch = many: must be a whole number"}),
        staged({"training.stages.4.batch=1"}, {"training.stages is a list of 2 entries"})));

TEST(Rules, ProblemsOfStagesComeAtOnceWithTheirPlaces) {
  std::string text = kSmallest;
  text.insert(text.find("steps: 100") + 10, R"(
    stages { first_step: 50 sequence_length: 0 }
    stages { first_step: 50 batch: -1 lenght: 5 }
    stages { theta: -1 prefix: "" }
  )");
  const std::string message = refusal(text);
  for (const char* part :
       {"run.textproto:9:29: training.stages.0.sequence_length = 0: must be at least 2",
        "training.stages.1.batch = -1: must be at least 1",
        "training.stages.1.first_step = 50: must be greater than training.stages.0.first_step = 50",
        "training.stages.1.lenght is not a field of the configuration", "training.stages.2.first_step is not set",
        "training.stages.2.theta = -1: must be greater than 0", "training.stages.2.prefix is not set"})
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
}

// On four ranks: data_parallel 4, or context_parallel 4.
TEST(Rules, StagesThatAreOverNeedNotFitTheMesh) {
  const std::vector<std::string> batches = {"training.batch=2", "training.stages.0.first_step=10",
                                            "training.stages.0.batch=6", "training.stages.1.first_step=20",
                                            "training.stages.1.batch=8"};
  const auto told = [](const std::vector<std::string>& settings, int64_t steps_done) {
    return refusal(kSmallest, settings, 4, steps_done);
  };
  EXPECT_NE(told(batches, 9).find("training.batch = 2"), std::string::npos);
  for (const int64_t step : {10, 19}) {
    EXPECT_EQ(told(batches, step).find("training.batch = 2"), std::string::npos);
    EXPECT_NE(told(batches, step).find("training.stages.0.batch = 6"), std::string::npos);
  }
  EXPECT_EQ(told(batches, 20), "");
  EXPECT_EQ(told(batches, 1000), "");
  // Values that a later stage inherits from a stage that has ended are checked.
  const std::vector<std::string> inherited = {"training.batch=2", "training.stages.0.first_step=10",
                                              "training.stages.0.theta=7"};
  EXPECT_NE(told(inherited, 50).find("training.batch = 2"), std::string::npos);
  EXPECT_NE(told(inherited, 1000).find("training.batch = 2"), std::string::npos) << "the last one is never over";
  const std::vector<std::string> lengths = {"parallel.context_parallel=4", "data.sequence_length=7",
                                            "training.stages.0.first_step=10", "training.stages.0.sequence_length=128"};
  EXPECT_NE(told(lengths, 9).find("data.sequence_length = 7"), std::string::npos);
  EXPECT_EQ(told(lengths, 10), "");
}

TEST(Rules, TheOutputDirectoryIsFoundWhateverIsWrongBesides) {
  const auto directory = [](std::string_view text, std::vector<std::string> overrides = {}) {
    return outline_of(text, "x", overrides).output_directory;
  };
  EXPECT_EQ(directory(kSmallest), "run");
  EXPECT_EQ(directory(kSmallest, {"output.directory=b", "training.batch=-1"}), "b");
  EXPECT_EQ(directory("output { directory: \"c\" } nonsense {{{"), "c");
  EXPECT_EQ(directory(""), "");
}

TEST(Rules, AllProblemsComeAtOnce) {
  const std::string message = refusal(R"(
    model { layers: 0 width: 64 widht: 64 hidden: "many" query_heads: 12 key_heads: 5 head_size: 16 vocabulary: 257
            pattern { mask: SLIDNG } }
    data { prefix: "text" }
    training { steps: 10 lr: 3e-4 warmup_steps: 20 }
  )",
                                      {"parallel.tensor_parallel=x", "nonsense", "output.log_interval=0"}, 4);
  for (const char* part :
       {"run.textproto has 12 problems:", "run.textproto:2:13: model.layers = 0: must be at least 1",
        "run.textproto:2:33: model.widht is not a field of the configuration; did you mean model.width?",
        "run.textproto:2:43: model.hidden = many: must be a whole number",
        "run.textproto:2:58: model.query_heads = 12: must be a multiple of model.key_heads = 5",
        "run.textproto:3:23: model.pattern.0.mask = SLIDNG: must be one of FULL, SLIDING; did you mean SLIDING?",
        "data.sequence_length is not set",
        "run.textproto:5:26: training.lr is not a field of the configuration; did you mean",
        "run.textproto:5:35: training.warmup_steps = 20: must be at most training.steps = 10",
        "--set parallel.tensor_parallel=x: parallel.tensor_parallel = x: must be a whole number",
        "--set nonsense: is not of the form FIELD=VALUE",
        "--set output.log_interval=0: output.log_interval = 0: must be at least 1"})
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
}

TEST(Rules, DataParallelIsWhatTheRanksLeave) {
  const auto mesh = [](std::initializer_list<std::string> overrides, std::optional<int> world) {
    return config_with(overrides, world).parallel.mesh;
  };
  EXPECT_EQ(mesh({}, 1), (MeshShape{1, 1, 1}));
  EXPECT_EQ(mesh({"training.batch=4"}, 4), (MeshShape{4, 1, 1}));
  EXPECT_EQ(mesh({"training.batch=2", "parallel.tensor_parallel=2", "parallel.context_parallel=3"}, 12),
            (MeshShape{2, 3, 2}));
  EXPECT_EQ(mesh({"parallel.tensor_parallel=2"}, std::nullopt), (MeshShape{1, 1, 2}));
  EXPECT_EQ(mesh({"parallel.data_parallel=3", "training.batch=3"}, std::nullopt), (MeshShape{3, 1, 1}));
}

TEST(Rules, LossChunkThatIsNotSetIsTheDevicesChoice) {
  const auto chunk = [](const std::string& device, int64_t vocabulary, std::initializer_list<std::string> more = {}) {
    std::vector<std::string> overrides = {"parallel.device=" + device, "model.head_size=64",
                                          fmt::format("model.vocabulary={}", vocabulary)};
    overrides.insert(overrides.end(), more);
    return parse_config(kSmallest, "smallest", overrides, 1).training.loss_chunk;
  };
  EXPECT_EQ(chunk("CPU", 256000), 1024);
  EXPECT_EQ(chunk("REFERENCE", 256000), 1024);
  EXPECT_EQ(chunk("CUDA", 257), 8192);
  EXPECT_EQ(chunk("CUDA", 131072), 8192);
  EXPECT_EQ(chunk("CUDA", 131073), 7168);
  EXPECT_EQ(chunk("CUDA", 256000), 4096);
  EXPECT_EQ(chunk("CUDA", 2147483647), 1024);
  EXPECT_EQ(chunk("CUDA", 256000, {"training.loss_chunk=9"}), 9);
}

// A run writes the chosen value and keeps it on another device and in later stages; likewise the 1024 chosen on a CPU.
TEST(Rules, LossChunkThatWasChosenStays) {
  const std::vector<std::string> on_cuda = {
      "parallel.device=CUDA", "training.precision=BF16",        "model.head_size=64",
      "model.vocabulary=257", "training.stages.0.first_step=4", "training.stages.0.batch=2"};
  const std::string text = parse_config(kSmallest, "smallest", on_cuda, 1).resolved_text;
  EXPECT_NE(text.find("loss_chunk: 8192"), std::string::npos) << text;
  const std::vector<std::string> on_cpu = {"parallel.device=CPU"};
  const Config later = parse_config(text, "resumed", on_cpu, 1, 5);
  EXPECT_EQ(later.training.loss_chunk, 8192);
  EXPECT_EQ(later.resolved_text.find("loss_chunk: 1024"), std::string::npos);
  const std::string before = parse_config(kSmallest, "smallest", {}, 1).resolved_text;
  EXPECT_NE(before.find("loss_chunk: 1024"), std::string::npos) << before;
  EXPECT_EQ(parse_config(before, "resumed", on_cuda, 1).training.loss_chunk, 1024);
}

TEST(Rules, PrecisionAndDeviceChooseTheBackend) {
  const auto backend = [](std::initializer_list<std::string> settings) {
    std::vector<std::string> overrides = {"model.head_size=64"};  // one that CUDA has
    overrides.insert(overrides.end(), settings);
    return parse_config(kSmallest, "smallest", overrides, 1).parallel.backend;
  };
  EXPECT_EQ(backend({}), BackendKind::kCpu);
  EXPECT_EQ(backend({"training.precision=FP32"}), BackendKind::kCpu);
  EXPECT_EQ(backend({"training.precision=BF16"}), BackendKind::kCpuBF16);
  EXPECT_EQ(backend({"parallel.device=CUDA"}), BackendKind::kCuda);
  EXPECT_EQ(backend({"parallel.device=CUDA", "training.precision=BF16"}), BackendKind::kCuda);
  EXPECT_EQ(backend({"parallel.device=REFERENCE"}), BackendKind::kReferenceF64);
  EXPECT_EQ(backend({"parallel.device=REFERENCE", "training.precision=FP64"}), BackendKind::kReferenceF64);
}

// A run writes the precision that its device chose and keeps it on a device that has it.
TEST(Rules, PrecisionThatWasChosenStays) {
  const std::vector<std::string> on_cpu = {"parallel.device=CPU", "model.head_size=64"},
                                 on_cuda = {"parallel.device=CUDA", "model.head_size=64"};
  const std::string mixed = parse_config(kSmallest, "smallest", on_cuda, 1).resolved_text;
  EXPECT_NE(mixed.find("precision: BF16"), std::string::npos) << mixed;
  EXPECT_EQ(parse_config(mixed, "resumed", on_cpu, 1).parallel.backend, BackendKind::kCpuBF16);
  const std::string single = parse_config(kSmallest, "smallest", on_cpu, 1).resolved_text;
  EXPECT_NE(single.find("precision: FP32"), std::string::npos) << single;
  const std::string message = refusal(single, on_cuda);
  EXPECT_NE(message.find("training.precision = FP32: must be BF16 with parallel.device CUDA"), std::string::npos)
      << message;
}

TEST(Rules, LimitsThemselvesAreAllowed) {
  EXPECT_NO_THROW(config_with({"data.sequence_length=2", "validation.position_ranges=2"}));
  EXPECT_NO_THROW(config_with({"training.warmup_steps=100"}));
  EXPECT_NO_THROW(
      config_with({"training.schedule=WARMUP_STABLE_DECAY", "training.decay_steps=60", "training.warmup_steps=40"}));
  EXPECT_NO_THROW(config_with({"training.learning_rate=0", "training.clip_norm=0", "training.beta1=0"}));
  EXPECT_NO_THROW(config_with({"model.pattern.0.window=1"}));
  EXPECT_NO_THROW(config_with({"model.pattern.0.window=100000"}));  // longer than the sequence: allowed
  EXPECT_NO_THROW(config_with({"parallel.tensor_parallel=12", "model.hidden=96"}));  // each KV head on three ranks
  EXPECT_NO_THROW(config_with({"data.tokenizer=none", "validation.sample_tokens=0", "model.vocabulary=2"}));
}

}  // namespace
}  // namespace ropewalk
