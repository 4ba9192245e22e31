#include "trainer/checkpoint/manifest.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "configs/manifest.pb.h"
#include "trainer/checkpoint/box_cover.h"
#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/files/crc32c.h"
#include "trainer/files/input_file.h"
#include "trainer/files/plain_name.h"
#include "trainer/formats/safetensors.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr std::string_view kVersionField = "format_version: ";
constexpr std::string_view kChecksumField = "# crc32c: ";
constexpr size_t kChecksumLine = kChecksumField.size() + 9;  // eight digits and the newline
constexpr int kDeepestNesting = 8;
constexpr int64_t kLargestManifest = 256 << 20;

// Refuses the manifest unless `condition`.
template <typename... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition)
    throw CheckpointError("the manifest is not valid: " + fmt::format(format, std::forward<Args>(args)...));
}

std::string checksum_line(std::string_view body) { return fmt::format("{}{:08x}\n", kChecksumField, crc32c(body)); }

// Keeps the first error, instead of the parser's printing it.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (text_.empty()) text_ = fmt::format("line {}, column {}: {}", line + 1, column + 1, in_quotes(message));
  }
  void AddWarning(int line, int column, const std::string& message) override { AddError(line, column, message); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// A plain name, or a folder and a plain name.
bool is_source_name(std::string_view name) {
  const size_t slash = name.find('/');
  if (slash == std::string_view::npos) return is_plain_name(name);
  return is_plain_name(name.substr(0, slash)) && is_plain_name(name.substr(slash + 1));
}

Shape shape_of(const proto::Manifest::SavedTensor& from) {
  require(from.shape_size() == 1 || from.shape_size() == 2, "{} has {} axes", in_quotes(from.name()),
          from.shape_size());
  int64_t product = size_of(DType::kF64);
  for (const int64_t extent : from.shape()) {
    require(extent >= 0 && !__builtin_mul_overflow(product, extent, &product), "the shape of {} is impossible",
            in_quotes(from.name()));
  }
  return from.shape_size() == 2 ? Shape{from.shape(0), from.shape(1)} : Shape{from.shape(0)};
}

ManifestPiece piece_of(const proto::Manifest::Piece& from, const ManifestTensor& tensor, size_t files) {
  require(from.has_file() && from.has_name() && from.has_crc32c(), "a piece of {} lacks file, name or crc32c",
          in_quotes(tensor.name));
  require(from.rows_size() == 2 && from.columns_size() == 2, "a piece of {} lacks its rows or columns",
          in_quotes(tensor.name));
  const ManifestPiece piece{
      from.file(), from.name(), {from.rows(0), from.rows(1), from.columns(0), from.columns(1)}, from.crc32c()};
  require(piece.file >= 0 && static_cast<size_t>(piece.file) < files, "a piece of {} is in file {} of {}",
          in_quotes(tensor.name), piece.file, files);
  require(contains(whole_box(tensor.shape), piece.box), "a piece of {} has {}; the tensor is {}",
          in_quotes(tensor.name), text_of(piece.box), tensor.shape.text());
  return piece;
}

ManifestTensor tensor_of(const proto::Manifest::SavedTensor& from, size_t files) {
  const std::optional<DType> dtype = dtype_of_safetensors(from.dtype());
  require(dtype && is_floating(*dtype), "{} has dtype {}; F32, F64, BF16 or F16 is expected", in_quotes(from.name()),
          in_quotes(from.dtype()));
  ManifestTensor tensor{from.name(), *dtype, shape_of(from), {}};
  for (const proto::Manifest::Piece& piece : from.piece()) tensor.pieces.push_back(piece_of(piece, tensor, files));
  return tensor;
}

constexpr int64_t kMostCounted = int64_t{1} << 60;  // so that sums of them do not overflow

std::optional<TokenizerOfData> tokenizer_of(const proto::Manifest& from) {
  if (!from.has_tokenizer()) return std::nullopt;
  const proto::Manifest::Tokenizer& tokenizer = from.tokenizer();
  require(!tokenizer.name().empty() && tokenizer.vocabulary() > 0 && tokenizer.end_of_document() >= 0 &&
              tokenizer.end_of_document() < tokenizer.vocabulary(),
          "the tokenizer lacks a field, or its fields contradict each other");
  TokenizerOfData out{{tokenizer.name(), tokenizer.hash(), tokenizer.vocabulary()}, {}};
  if (tokenizer.has_end_of_document()) out.end_of_document = tokenizer.end_of_document();
  return out;
}

Manifest from_proto(const proto::Manifest& from) {
  Manifest manifest;
  manifest.program = from.program();
  manifest.run.config_text = from.config();
  for (const proto::Manifest::Data& data : from.data())
    manifest.run.data.push_back({data.prefix(), data.index_bytes(), data.token_bytes(), data.index_crc32c(),
                                 data.token_crc32c(), data.target_bytes(), data.target_crc32c()});
  manifest.run.tokenizer = tokenizer_of(from);
  const proto::Manifest::Progress& progress = from.progress();
  require(progress.has_step() && progress.has_consumed_samples() && progress.has_consumed_tokens(),
          "a field of progress is missing");
  manifest.progress = {progress.step(), progress.consumed_samples(), progress.consumed_tokens(), progress.order_begin(),
                       progress.has_order_samples() ? progress.order_samples() : progress.consumed_samples()};
  require(progress.step() >= 0 && progress.consumed_samples() >= 0 && progress.consumed_tokens() >= 0 &&
              progress.order_begin() >= 0 && progress.order_samples() >= 0,
          "a field of progress is negative");
  require(manifest.progress.order_samples <= progress.consumed_samples() && progress.order_begin() <= progress.step() &&
              std::max({progress.step(), progress.consumed_samples(), progress.consumed_tokens()}) <= kMostCounted,
          "the fields of progress contradict each other");
  const proto::Manifest::Mesh& mesh = from.mesh();
  require(mesh.data_parallel() > 0 && mesh.context_parallel() > 0 && mesh.tensor_parallel() > 0,
          "a field of mesh is missing or not positive");
  manifest.mesh = {mesh.data_parallel(), mesh.context_parallel(), mesh.tensor_parallel()};

  std::unordered_set<std::string> names;
  for (const proto::Manifest::File& file : from.file()) {
    require(is_plain_name(file.name()), "{} is no plain file name", in_quotes(file.name()));
    require(names.insert(file.name()).second, "the file {} comes twice", in_quotes(file.name()));
    require(file.has_bytes() && file.bytes() >= 0 && file.has_header_crc32c(),
            "the file {} lacks bytes or header_crc32c", in_quotes(file.name()));
    manifest.files.push_back({file.name(), file.bytes(), file.header_crc32c()});
  }
  names.clear();
  for (const proto::Manifest::SavedTensor& tensor : from.tensor()) {
    require(!tensor.name().empty(), "a tensor without a name");
    require(names.insert(tensor.name()).second, "the tensor {} comes twice", in_quotes(tensor.name()));
    manifest.tensors.push_back(tensor_of(tensor, manifest.files.size()));
  }
  names.clear();
  for (const proto::Manifest::SourceFile& file : from.source_file()) {
    require(is_source_name(file.name()), "{} is no name of a source file", in_quotes(file.name()));
    require(names.insert(file.name()).second, "the source file {} comes twice", in_quotes(file.name()));
    require(file.bytes() >= 0 && file.has_bytes() && file.has_crc32c(), "the source file {} lacks bytes or crc32c",
            in_quotes(file.name()));
    require(file.bytes() <= kLargestSourceFile, "the source file {} has {} bytes; at most {} are read",
            in_quotes(file.name()), file.bytes(), kLargestSourceFile);
    manifest.source_files.push_back({file.name(), file.bytes(), file.crc32c()});
  }
  return manifest;
}

proto::Manifest to_proto(const Manifest& from) {
  proto::Manifest to;
  to.set_format_version(from.version);
  to.set_program(from.program);
  to.mutable_progress()->set_step(from.progress.step);
  to.mutable_progress()->set_consumed_samples(from.progress.consumed_samples);
  to.mutable_progress()->set_consumed_tokens(from.progress.consumed_tokens);
  to.mutable_progress()->set_order_begin(from.progress.order_begin);
  to.mutable_progress()->set_order_samples(from.progress.order_samples);
  to.mutable_mesh()->set_data_parallel(from.mesh.data_parallel);
  to.mutable_mesh()->set_context_parallel(from.mesh.context_parallel);
  to.mutable_mesh()->set_tensor_parallel(from.mesh.tensor_parallel);
  to.set_config(from.run.config_text);
  for (const DataIdentity& data : from.run.data) {
    proto::Manifest::Data* entry = to.add_data();
    entry->set_prefix(data.prefix);
    entry->set_index_bytes(data.index_bytes);
    entry->set_token_bytes(data.token_bytes);
    entry->set_index_crc32c(data.index_crc32c);
    entry->set_token_crc32c(data.token_crc32c);
    if (data.target_bytes > 0) {
      entry->set_target_bytes(data.target_bytes);
      entry->set_target_crc32c(data.target_crc32c);
    }
  }
  if (from.run.tokenizer) {
    const auto& [identity, end_of_document] = *from.run.tokenizer;
    to.mutable_tokenizer()->set_name(identity.name);
    to.mutable_tokenizer()->set_hash(identity.hash);
    to.mutable_tokenizer()->set_vocabulary(identity.vocabulary);
    if (end_of_document) to.mutable_tokenizer()->set_end_of_document(*end_of_document);
  }
  for (const ManifestFile& file : from.files) {
    proto::Manifest::File* entry = to.add_file();
    entry->set_name(file.name);
    entry->set_bytes(file.bytes);
    entry->set_header_crc32c(file.header_crc32c);
  }
  for (const ManifestTensor& tensor : from.tensors) {
    proto::Manifest::SavedTensor* entry = to.add_tensor();
    entry->set_name(tensor.name);
    entry->set_dtype(safetensors_name(tensor.dtype));
    for (int axis = 0; axis < tensor.shape.rank(); ++axis) entry->add_shape(tensor.shape[axis]);
    for (const ManifestPiece& piece : tensor.pieces) {
      proto::Manifest::Piece* part = entry->add_piece();
      part->set_file(piece.file);
      part->set_name(piece.name);
      part->add_rows(piece.box.row_begin);
      part->add_rows(piece.box.row_end);
      part->add_columns(piece.box.column_begin);
      part->add_columns(piece.box.column_end);
      part->set_crc32c(piece.crc32c);
    }
  }
  for (const ManifestSourceFile& file : from.source_files) {
    proto::Manifest::SourceFile* entry = to.add_source_file();
    entry->set_name(file.name);
    entry->set_bytes(file.bytes);
    entry->set_crc32c(file.crc32c);
  }
  return to;
}

// The number on the first line. The rest of the manifest may have the form of a later version.
int version_of(std::string_view text) {
  int version = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + std::min(kVersionField.size(), text.size()), end, version);
  require(text.starts_with(kVersionField) && error == std::errc() && rest != end && *rest == '\n' && version > 0,
          "it does not begin with {}", kVersionField);
  return version;
}

// What else is at a path without a manifest, and what to do; "" if that is not known.
std::string what_it_is(const std::filesystem::path& path) {
  const std::string name = path.string();
  const auto has = [&](const char* entry) { return kind_of(path / entry) != PathKind::kNone; };
  std::error_code unreadable;
  if (!std::filesystem::exists(path, unreadable)) return fmt::format("there is no checkpoint {}", name);
  if (!std::filesystem::is_directory(path, unreadable)) return fmt::format("{} is a file, not a checkpoint", name);
  if (has("config.json"))
    return fmt::format(
        "{} is a Hugging Face model, not a checkpoint; import it: ropewalk import {} --output CHECKPOINT", name, name);
  for (const std::filesystem::path& directory : {checkpoints_of(path), path})
    if (const std::vector<CheckpointPath> inside = list_checkpoints(directory); !inside.empty())
      return fmt::format("{} holds checkpoints and is not one itself; name one of them, such as {}", name,
                         inside.front().path.string());
  return "";
}

}  // namespace

std::string read_manifest_text(FileSystem& files, const std::filesystem::path& checkpoint) {
  const std::filesystem::path file = checkpoint / kManifestName;
  if (kind_of(file) == PathKind::kNone)
    if (const std::string other = what_it_is(checkpoint); !other.empty()) throw CheckpointError(other);
  return read_text(files, file, kLargestManifest);
}

Manifest read_manifest(FileSystem& files, const std::filesystem::path& checkpoint) {
  const std::string text = read_manifest_text(files, checkpoint);
  try {
    Manifest manifest = parse_manifest(text);
    check_version(checkpoint, manifest);
    return manifest;
  } catch (const CheckpointError& error) {
    throw CheckpointError(fmt::format("checkpoint {} is refused: {}", checkpoint.string(), error.what()));
  }
}

void check_version(const std::filesystem::path& checkpoint, const Manifest& manifest) {
  if (manifest.version == kManifestVersion) return;
  throw CheckpointError(
      fmt::format("{} has format version {}; this program reads version {}: use the program that wrote it",
                  checkpoint.string(), manifest.version, kManifestVersion));
}

std::string program_name() { return "ropewalk " ROPEWALK_VERSION; }

std::string manifest_text(const Manifest& manifest) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseShortRepeatedPrimitives(true);
  std::string body;
  CHECK(printer.PrintToString(to_proto(manifest), &body), "the manifest cannot be printed");
  return body + checksum_line(body);
}

Manifest parse_manifest(std::string_view text) {
  require(text.size() > kChecksumLine, "{} bytes are too few", text.size());
  const std::string_view body = text.substr(0, text.size() - kChecksumLine);
  require(text.substr(body.size()) == checksum_line(body), "its checksum is wrong, or missing from its last line");
  Manifest manifest;
  manifest.version = version_of(body);
  if (manifest.version != kManifestVersion) return manifest;

  google::protobuf::TextFormat::Parser parser;
  FirstError error;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kDeepestNesting);
  proto::Manifest parsed;
  require(body.size() <= static_cast<size_t>(std::numeric_limits<int>::max()), "{} bytes are too many", body.size());
  require(parser.ParseFromString(std::string(body), &parsed) && error.text().empty(), "{}", error.text());
  return from_proto(parsed);
}

void merge_manifest(Manifest& whole, const Manifest& part) {
  std::unordered_map<std::string, size_t> index;
  for (size_t i = 0; i < whole.tensors.size(); ++i) index[whole.tensors[i].name] = i;
  const int first_file = static_cast<int>(whole.files.size());
  whole.files.insert(whole.files.end(), part.files.begin(), part.files.end());
  for (const ManifestTensor& tensor : part.tensors) {
    const auto [place, is_new] = index.try_emplace(tensor.name, whole.tensors.size());
    if (is_new) whole.tensors.push_back({tensor.name, tensor.dtype, tensor.shape, {}});
    ManifestTensor& merged = whole.tensors[place->second];
    require(merged.dtype == tensor.dtype && merged.shape == tensor.shape, "ranks save {} as {} {} and as {} {}",
            in_quotes(tensor.name), name_of(merged.dtype), merged.shape.text(), name_of(tensor.dtype),
            tensor.shape.text());
    for (ManifestPiece piece : tensor.pieces) {
      piece.file += first_file;
      merged.pieces.push_back(std::move(piece));
    }
  }
}

void check_covered(const Manifest& manifest) {
  std::vector<Box> boxes;
  for (const ManifestTensor& tensor : manifest.tensors) {
    boxes.clear();
    for (const ManifestPiece& piece : tensor.pieces) boxes.push_back(piece.box);
    const std::optional<CoverDefect> defect = find_cover_defect(whole_box(tensor.shape), boxes);
    if (!defect) continue;
    throw CheckpointError(fmt::format("{} of tensor {} {}", text_of(defect->range), in_quotes(tensor.name),
                                      defect->missing ? "are in no file" : "are saved more than once"));
  }
}

}  // namespace ropewalk
