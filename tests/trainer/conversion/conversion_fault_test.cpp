// Whichever system call of an import or an export fails, and wherever the program is killed or the power fails: the
// output is complete or absent, and the next attempt succeeds.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/support/expect_error.h"
#include "tests/support/small_disk.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/conversion/hugging_face_model.h"
#include "tests/trainer/files/faulty_file_system.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/conversion/export_model.h"
#include "trainer/conversion/weight_index.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;
using Mode = CallCounter::Mode;

// An import and an export of one small model, whose outputs are `output`.
struct Conversion {
  const char* name;
  void (*run)(const fs::path& directory, const fs::path& output, FileSystem& system);
};

void import_it(const fs::path& directory, const fs::path& output, FileSystem& system) {
  import_model(directory / "model", output, {}, no_progress, system);
}
void export_it(const fs::path& directory, const fs::path& output, FileSystem& system) {
  export_model(directory / "checkpoint", output, {.most_shard_bytes = 5000}, no_progress, system, system);
}
const Conversion kConversions[] = {{"import", import_it}, {"export", export_it}};

int no_fault(const char*) { return 0; }

class ConversionFaults : public testing::Test {
 protected:
  ConversionFaults() {
    model_.config["num_hidden_layers"] = "1";
    model_.config["layer_types"] = "[\"sliding_attention\"]";
    std::erase_if(model_.tensors, [](const auto& tensor) {
      return tensor.first.starts_with("model.layers.") && !tensor.first.starts_with("model.layers.0.");
    });
    model_.files = {{"tokenizer.json", std::string(1000, 't')}, {"additional_chat_templates/rag.jinja", "{{ x }}"}};
    model_.write(directory_ / "model", 2);
    import_it(directory_.path(), directory_ / "checkpoint", real_file_system(FileOwner::kData));
  }

  fs::path output() const { return directory_ / "out" / "put"; }
  void clear() {
    fs::remove_all(directory_ / "out");
    fs::create_directory(directory_ / "out");
  }

  void expect_complete(const Conversion& conversion) {
    EXPECT_EQ(list_directory(directory_ / "out"), (std::vector<std::string>{"put"}));
    EXPECT_EQ(tensors_in(output()), model_.tensors);
    const fs::path small = conversion.run == import_it ? output() / "huggingface" : output();
    for (const auto& [name, bytes] : model_.files) EXPECT_EQ(read_file(small / name), bytes) << name;
    EXPECT_NO_THROW(parse_json(read_file(small / "config.json")));
    if (conversion.run == import_it)
      EXPECT_EQ(read_manifest(real_file_system(), output()).tensors.size(), model_.tensors.size());
    else
      EXPECT_NO_THROW(parse_weight_index(read_file(output() / "model.safetensors.index.json")));
  }
  void expect_next_works(const Conversion& conversion) {
    FaultyFileSystem good(no_fault, FileOwner::kData);  // skips fsync
    conversion.run(directory_.path(), output(), good);
    expect_complete(conversion);
  }
  // Nothing, or everything.
  void expect_absent_or_complete(const Conversion& conversion) {
    if (fs::exists(output()))
      expect_complete(conversion);
    else
      expect_next_works(conversion);
  }

  // Makes one call after the other fail; returns how many attempts failed.
  int fail_every_call(const Conversion& conversion, Mode mode, int error) {
    for (int call = 0, failed = 0;; ++call) {
      SCOPED_TRACE(fmt::format("{}: call {} fails", conversion.name, call));
      clear();
      CallCounter counter(call, mode, error);
      FaultyFileSystem faulty([&](const char*) { return counter(); }, FileOwner::kData);
      std::string message;
      try {
        conversion.run(directory_.path(), output(), faulty);
      } catch (const Error& refusal) {
        message = refusal.what();
      }
      if (!counter.reached()) return failed;
      if (message.empty()) {  // a call that only tidies up, or may fail
        expect_complete(conversion);
      } else {
        ++failed;
        EXPECT_NE(message.find(directory_.path().string()), std::string::npos) << message;
        // If all later calls fail, too, leftovers stay; after the rename, the output does.
        if (mode == Mode::kOnce) {
          EXPECT_EQ(list_directory(directory_ / "out"), std::vector<std::string>()) << message;
        }
        expect_absent_or_complete(conversion);
      }
      if (testing::Test::HasFailure()) return failed;
    }
  }

  TemporaryDirectory directory_;
  HuggingFaceModel model_ = small_cohere2();
};

TEST_F(ConversionFaults, EveryCallThatFailsLeavesNothing) {
  for (const Conversion& conversion : kConversions)
    EXPECT_GT(fail_every_call(conversion, Mode::kOnce, EIO), 40) << conversion.name;
}

TEST_F(ConversionFaults, EveryCallFromWhichOnAllFailLeavesNothingOrAll) {
  for (const Conversion& conversion : kConversions)
    EXPECT_GT(fail_every_call(conversion, Mode::kFromThereOn, ENOSPC), 40) << conversion.name;
}

// The last call, the fsync of the parent, included.
TEST_F(ConversionFaults, APowerCutAtAnyCallLeavesNothingOrAll) {
  for (const Conversion& conversion : kConversions) {
    int complete = 0;
    for (int64_t call = 0;; ++call) {
      SCOPED_TRACE(fmt::format("{}: power cut at call {}", conversion.name, call));
      clear();
      PowerCutFileSystem disk(directory_ / "out", call);
      bool succeeded = true;
      try {
        conversion.run(directory_.path(), output(), disk);
      } catch (const Error&) {
        succeeded = false;
      }
      const bool cut = disk.reached();
      disk.cut();
      if (succeeded) {
        EXPECT_TRUE(fs::exists(output()));
      }
      complete += fs::exists(output());
      expect_absent_or_complete(conversion);
      ASSERT_FALSE(HasFailure());
      if (!cut) break;
    }
    EXPECT_GE(complete, 1) << conversion.name;
  }
}

// The same with a real process and a real signal. The next attempt also removes what the killed one has left.
TEST_F(ConversionFaults, AProcessThatIsKilledAtAnyCallLeavesNothingOrAll) {
  for (const Conversion& conversion : kConversions) {
    int leftovers = 0;
    for (int64_t call = 0;; ++call) {
      SCOPED_TRACE(fmt::format("{}: killed at call {}", conversion.name, call));
      clear();
      const pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        CallCounter counter(call, Mode::kOnce, 1);
        FaultyFileSystem deadly([&](const char*) { return counter() ? raise(SIGKILL) : 0; }, FileOwner::kData);
        conversion.run(directory_.path(), output(), deadly);
        _exit(0);
      }
      int status = 0;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      leftovers += fs::exists(output().string() + ".ropewalk-tmp");
      expect_absent_or_complete(conversion);
      ASSERT_FALSE(HasFailure());
      if (WIFEXITED(status)) {
        EXPECT_EQ(WEXITSTATUS(status), 0);
        break;
      }
      ASSERT_EQ(WTERMSIG(status), SIGKILL);
    }
    EXPECT_GT(leftovers, 20) << conversion.name;
  }
}

TEST_F(ConversionFaults, InterruptedAndShortCallsAreContinued) {
  // Opening an input is not repeated.
  for (const Conversion& conversion : kConversions) {
    clear();
    ReluctantFileSystem files(70, 50, FileOwner::kData, "open");
    conversion.run(directory_.path(), output(), files);
    expect_complete(conversion);
  }
}

// A small file does not fit any more, after the weights did.
TEST_F(ConversionFaults, AFullDiskLeavesNothing) {
  model_.files["tokenizer.json"] = std::string(200'000, 't');
  model_.write_small_files(directory_ / "model");
  fs::remove_all(directory_ / "checkpoint");
  import_it(directory_.path(), directory_ / "checkpoint", real_file_system(FileOwner::kData));
  clear();
  const SmallDisk disk(directory_ / "out", "128k");
  if (!disk.mounted()) GTEST_SKIP() << "only root can mount";
  for (const Conversion& conversion : kConversions) {
    expect_error<DataError>([&] { conversion.run(directory_.path(), output(), real_file_system(FileOwner::kData)); },
                            {"cannot write", "tokenizer.json: No space left on device"});
    EXPECT_EQ(list_directory(directory_ / "out"), std::vector<std::string>());
  }
}

TEST_F(ConversionFaults, TooLittleRoomIsToldBeforeAnythingIsWritten) {
  clear();
  const SmallDisk disk(directory_ / "out", "4k");
  if (!disk.mounted()) GTEST_SKIP() << "only root can mount";
  for (const Conversion& conversion : kConversions) {
    FaultyFileSystem never_writes([](const char* call) { return call == std::string("write") ? EIO : 0; },
                                  FileOwner::kData);
    expect_error<DataError>(
        [&] { conversion.run(directory_.path(), output(), never_writes); },
        {output().string() + " needs ", ", and its file system has 4.0 KiB free; free space there"});
    EXPECT_EQ(list_directory(directory_ / "out"), std::vector<std::string>());
  }
}

}  // namespace
}  // namespace ropewalk
