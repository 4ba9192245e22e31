#include "trainer/text/format.h"

#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "trainer/text/utf8.h"

namespace ropewalk {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// The value in the largest unit in which it is at least 1, with at most three digits.
std::string scaled_text(double value, double base, std::initializer_list<const char*> units) {
  if (!std::isfinite(value)) return "?";
  auto unit = units.begin();
  for (; std::abs(value) >= base - 0.5 && unit + 1 != units.end(); ++unit) value /= base;
  if (std::abs(value) >= 1e6) return fmt::format("{:.3g}{}", value, *unit);
  const int digits = unit == units.begin() || std::abs(value) >= 99.95 ? 0 : 1;
  return fmt::format("{:.{}f}{}", value, digits, *unit);
}

// Length of the control character (U+0000..1F, 7F, 80..9F) at the beginning of valid UTF-8; 0 if there is none.
size_t control_bytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x20 || first == 0x7f) return 1;
  return first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0 ? 2 : 0;
}

// `text` with `replacement(bytes)` for each control character and for each byte that is not UTF-8.
std::string with_replaced(std::string_view text, const auto& replacement) {
  std::string out;
  while (!text.empty()) {
    const size_t valid = first_invalid_utf8(text);
    for (size_t i = 0; i < valid; ++i) {
      const size_t control = control_bytes(text.substr(i, valid - i));
      control ? out += replacement(text.substr(i, control)) : out += text[i];
      if (control) i += control - 1;
    }
    if (valid < text.size()) out += replacement(text.substr(valid, 1));
    text.remove_prefix(std::min(valid + 1, text.size()));
  }
  return out;
}

}  // namespace

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const double whole_seconds = std::round(seconds), whole_minutes = std::round(seconds / 60),
               whole_hours = std::round(seconds / 3600);
  const auto pair = [](double value, double base, const char* big, const char* small) {
    return fmt::format("{:.0f} {} {:02.0f} {}", std::floor(value / base), big, std::fmod(value, base), small);
  };
  if (whole_seconds < 3600) return pair(whole_seconds, 60, "m", "s");
  if (whole_minutes < 24 * 60) return pair(whole_minutes, 60, "h", "m");
  return whole_hours < 24 * 10'000 ? pair(whole_hours, 24, "d", "h") : fmt::format("{:.3g} d", seconds / 86400);
}

std::string count_text(double count) { return scaled_text(count, 1000, {"", " k", " M", " B", " T"}); }
std::string flops_text(double flops) {
  return scaled_text(flops, 1000, {" FLOP", " kFLOP", " MFLOP", " GFLOP", " TFLOP", " PFLOP", " EFLOP"});
}
std::string rate_text(double bytes_per_second) { return fmt::format("{:.4g} GB/s", bytes_per_second / 1e9); }
std::string bytes_text(double bytes) { return scaled_text(bytes, 1024, {" B", " KiB", " MiB", " GiB", " TiB"}); }

std::string counted(const std::string& count, std::string_view noun, std::string_view plural) {
  if (count == "1") return fmt::format("1 {}", noun);
  return plural.empty() ? fmt::format("{} {}s", count, noun) : fmt::format("{} {}", count, plural);
}

std::string bar_text(double fraction, int width) {
  const int inside = std::max(width - 2, 0);
  const double share = std::isfinite(fraction) ? std::clamp(fraction, 0.0, 1.0) : 0;
  const int filled = static_cast<int>(share * inside);
  std::string bar(static_cast<size_t>(filled), '=');
  if (filled < inside) bar += '>';
  bar.resize(static_cast<size_t>(inside), ' ');
  return "[" + bar + "]";
}

std::string printable_text(std::string_view text) {
  return with_replaced(text, [](std::string_view bytes) -> std::string {
    return bytes == "\n" || bytes == "\t" ? std::string(bytes) : std::string(kReplacement);
  });
}

std::string printable_name(std::string_view name) {
  return with_replaced(name, [](std::string_view bytes) {
    std::string escaped;
    for (const char byte : bytes) escaped += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    return escaped;
  });
}

std::string in_quotes(std::string_view text) {
  constexpr size_t kLongest = 200;
  std::string out = "\"";
  for (const char c : text.substr(0, kLongest)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + (text.size() > kLongest ? "...\"" : "\"");
}

}  // namespace ropewalk
