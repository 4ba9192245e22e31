#include "trainer/formats/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "trainer/files/crc32c.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

static_assert(std::endian::native == std::endian::little, "lengths and data are written as they are in memory");

constexpr int64_t kLengthBytes = 8;
constexpr uint64_t kLongestHeader = 100'000'000;  // the limit of the format's own library
constexpr const char* kMetadataKey = "__metadata__";

template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw CheckpointError(fmt::format(format, std::forward<Args>(args)...));
}

// Bits of an element; 0 for a dtype that the format does not know.
int bits_of(std::string_view dtype) {
  struct Type {
    std::string_view name;
    int bits;
  };
  static constexpr Type kTypes[] = {
      {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
      {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
      {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
      {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}};
  for (const Type& type : kTypes) {
    if (type.name == dtype) return type.bits;
  }
  return 0;
}

// Receives the header's JSON as events, and accepts only the following structure, which bounds depth and memory:
//   { "__metadata__": {string: string...}, name: {"dtype": string, "shape": [...], "data_offsets": [begin, end]}... }
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderHandler(SafetensorsHeader& header) : header_(header) {}

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("true or false"); }
  bool number_integer(number_integer_t value) override { refuse("a negative number, {}, {}", value, where()); }
  bool number_float(number_float_t, const string_t& text) override {
    refuse("a number that is no 63-bit integer, {}, {}", in_quotes(text), where());
  }
  bool binary(binary_t&) override { unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kShape && place_ != Place::kOffsets) unexpected("a number");
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      refuse("a number beyond 63 bits, {}, {}", value, where());
    }
    numbers_.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      header_.metadata[field_] = value;
    } else if (place_ == Place::kTensor && field_ == "dtype") {
      entry_.dtype = value;
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_object(size_t) override {
    if (place_ == Place::kOutside) {
      place_ = Place::kTop;
    } else if (place_ == Place::kTop) {
      place_ = name_ == kMetadataKey ? Place::kMetadata : Place::kTensor;
      fields_.clear();
      entry_ = {name_, "", {}, 0, 0};
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(string_t& value) override {
    if (place_ == Place::kTop) {
      name_ = value;
      if (!names_.insert(value).second) refuse("the name {} comes twice", in_quotes(value));
      return true;
    }
    field_ = value;
    if (!fields_.insert(value).second) refuse("the key {} comes twice in {}", in_quotes(value), in_quotes(name_));
    if (place_ == Place::kTensor && value != "dtype" && value != "shape" && value != "data_offsets") {
      refuse("an unknown key {} in {}", in_quotes(value), in_quotes(name_));
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      if (fields_.size() != 3) refuse("{} lacks one of dtype, shape, data_offsets", in_quotes(name_));
      header_.entries.push_back(std::move(entry_));
    }
    place_ = place_ == Place::kTop ? Place::kOutside : Place::kTop;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::kTensor || field_ == "dtype") unexpected("an array");
    place_ = field_ == "shape" ? Place::kShape : Place::kOffsets;
    numbers_.clear();
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kShape) {
      entry_.shape = numbers_;
    } else {
      if (numbers_.size() != 2) refuse("{} data_offsets of {} instead of 2", numbers_.size(), in_quotes(name_));
      entry_.begin = numbers_[0];
      entry_.end = numbers_[1];
    }
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) override {
    refuse("no JSON at byte {} of the header: {}", position, in_quotes(error.what()));
  }

 private:
  enum class Place { kOutside, kTop, kMetadata, kTensor, kShape, kOffsets };

  std::string where() const { return place_ == Place::kOutside ? "at the top" : "in " + in_quotes(name_); }
  [[noreturn]] void unexpected(const char* what) const { refuse("unexpected {} {}", what, where()); }

  SafetensorsHeader& header_;
  Place place_ = Place::kOutside;
  std::string name_, field_;  // the current keys
  std::unordered_set<std::string> names_, fields_;
  SafetensorsEntry entry_{};
  std::vector<int64_t> numbers_;
};

void check_size(const SafetensorsEntry& entry) {
  const int bits = bits_of(entry.dtype);
  if (bits == 0) refuse("{} has the unknown dtype {}", in_quotes(entry.name), in_quotes(entry.dtype));
  int64_t product = 1;
  bool overflow = false;
  for (const int64_t extent : entry.shape) overflow |= __builtin_mul_overflow(product, extent, &product);
  overflow |= __builtin_mul_overflow(product, static_cast<int64_t>(bits), &product);
  if (overflow) refuse("the shape of {} has more elements than can be counted", in_quotes(entry.name));
  if (product % 8 != 0) refuse("{} does not end at a byte", in_quotes(entry.name));
  if (product / 8 != entry.end - entry.begin) {
    refuse("{} has {} bytes of data; its dtype and shape need {}", in_quotes(entry.name), entry.end - entry.begin,
           product / 8);
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, int64_t data_bytes) {
  if (json.empty() || json[0] != '{') refuse("the header does not begin with '{{'");
  // The parser would take a zero byte for the end of the text and ignore the rest.
  if (json.find('\0') != std::string_view::npos) refuse("a zero byte in the header");
  SafetensorsHeader header;
  HeaderHandler handler(header);
  nlohmann::json::sax_parse(json.begin(), json.end(), &handler);

  std::sort(header.entries.begin(), header.entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  int64_t end = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.end < entry.begin) refuse("the data of {} end before they begin", in_quotes(entry.name));
    if (entry.begin != end) {
      refuse("the data of {} begin at byte {}; the tensor before ends at {}", in_quotes(entry.name), entry.begin, end);
    }
    end = entry.end;
    if (end > data_bytes) {
      refuse("the data of {} end at byte {}; the file has {} bytes of data", in_quotes(entry.name), end, data_bytes);
    }
    check_size(entry);
  }
  if (end != data_bytes) refuse("{} bytes after the last tensor", data_bytes - end);
  return header;
}

SafetensorsHeader read_safetensors_header(const InputFile& file) {
  try {
    if (file.size() < kLengthBytes) refuse("{} bytes are too few for a header", file.size());
    uint64_t length = 0;
    file.read(0, &length, kLengthBytes);
    if (length > kLongestHeader) refuse("a header of {} bytes; at most {} are allowed", length, kLongestHeader);
    const int64_t data_begin = kLengthBytes + static_cast<int64_t>(length);
    if (data_begin > file.size()) refuse("a header of {} bytes in a file of {}", length, file.size());
    std::string json(length, '\0');
    file.read(kLengthBytes, json.data(), json.size());
    SafetensorsHeader header = parse_safetensors_header(json, file.size() - data_begin);
    header.data_begin = data_begin;
    Crc32c crc;
    crc.update(&length, kLengthBytes);
    crc.update(json.data(), json.size());
    header.crc32c = crc.value();
    return header;
  } catch (const CheckpointError& error) {
    throw CheckpointError(fmt::format("{} is no valid safetensors file: {}", file.path().string(), error.what()));
  }
}

std::string safetensors_header(std::span<const SafetensorsTensor> tensors, const SafetensorsMetadata& metadata) {
  std::string json = fmt::format("{{\"{}\":{}", kMetadataKey, nlohmann::json(metadata).dump());
  int64_t offset = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    CHECK(offset % size_of(tensor.dtype) == 0, "{} comes after a tensor of narrower elements", tensor.name);
    int64_t bytes = size_of(tensor.dtype);
    for (const int64_t extent : tensor.shape) bytes *= extent;
    json += fmt::format(",{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}",
                        nlohmann::json(tensor.name).dump(), safetensors_name(tensor.dtype),
                        nlohmann::json(tensor.shape).dump(), offset, offset + bytes);
    offset += bytes;
  }
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  const uint64_t length = json.size();
  std::string out(kLengthBytes, '\0');
  std::memcpy(out.data(), &length, kLengthBytes);
  return out + json;
}

const char* safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF64:
      return "F64";
    case DType::kBF16:
      return "BF16";
    case DType::kF16:
      return "F16";
    case DType::kI32:
      return "I32";
    case DType::kU8:
      return "U8";
  }
  return "?";
}

std::optional<DType> dtype_of_safetensors(std::string_view name) {
  for (const DType dtype : {DType::kF32, DType::kF64, DType::kBF16, DType::kF16, DType::kI32, DType::kU8}) {
    if (name == safetensors_name(dtype)) return dtype;
  }
  return std::nullopt;
}

}  // namespace ropewalk
