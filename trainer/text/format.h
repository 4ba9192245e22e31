// Numbers and text as people read them.
#pragma once

#include <concepts>
#include <string>
#include <string_view>

namespace ropewalk {

std::string duration_text(
    double seconds);                   // "8.2 s", "3 m 05 s", "2 h 07 m", "4 d 03 h"; "?" if not finite or negative
std::string count_text(double count);  // "999", "1.2 k", "34.5 M", "1.1 B"
std::string flops_text(double flops);  // "12 FLOP", "2.4 GFLOP"
std::string bytes_text(double bytes);  // "512 B", "1.5 KiB", "2.0 GiB"
std::string rate_text(double bytes_per_second);    // "450 GB/s", "0.125 GB/s"
std::string bar_text(double fraction, int width);  // "[====>     ]", `width` characters in all

// "1 file", "2 files", "2 entries". `plural` is needed only if it is not the noun with an s.
std::string counted(const std::string& count, std::string_view noun, std::string_view plural = "");
std::string counted(std::integral auto count, std::string_view noun, std::string_view plural = "") {
  return counted(std::to_string(count), noun, plural);
}

// Untrusted text made safe to print: control characters other than newline and tab, and bytes that are not UTF-8,
// become U+FFFD.
std::string printable_text(std::string_view text);

// A file's name as messages show it, on one line: control characters, and bytes that are not UTF-8, become \xNN.
std::string printable_name(std::string_view name);

// `text` in quotes, at most 200 bytes of it, with control characters as \xNN: for names that come from a file.
std::string in_quotes(std::string_view text);

}  // namespace ropewalk
