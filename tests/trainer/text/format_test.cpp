#include "trainer/text/format.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ropewalk {
namespace {

TEST(Text, Durations) {
  EXPECT_EQ(duration_text(0), "0.0 s");
  EXPECT_EQ(duration_text(8.24), "8.2 s");
  EXPECT_EQ(duration_text(59.94), "59.9 s");
  EXPECT_EQ(duration_text(59.96), "1 m 00 s");
  EXPECT_EQ(duration_text(185), "3 m 05 s");
  EXPECT_EQ(duration_text(3599.4), "59 m 59 s");
  EXPECT_EQ(duration_text(3599.6), "1 h 00 m");
  EXPECT_EQ(duration_text(2 * 3600 + 7 * 60 + 29), "2 h 07 m");
  EXPECT_EQ(duration_text(24 * 3600 - 1), "1 d 00 h");
  EXPECT_EQ(duration_text(99 * 3600), "4 d 03 h");
  EXPECT_EQ(duration_text(9999 * 86400.0), "9999 d 00 h");
  EXPECT_EQ(duration_text(1e300), "1.16e+295 d");
  for (double unknown : {-1.0, double{NAN}, double{INFINITY}}) EXPECT_EQ(duration_text(unknown), "?");
}

TEST(Text, Amounts) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(999.6), "1.0 k");
  EXPECT_EQ(count_text(1234), "1.2 k");
  EXPECT_EQ(count_text(34.5e6), "34.5 M");
  EXPECT_EQ(count_text(345.6e6), "346 M");
  EXPECT_EQ(count_text(8.03e9), "8.0 B");
  EXPECT_EQ(count_text(5e17), "500000 T");
  EXPECT_EQ(count_text(5e18), "5e+06 T");
  EXPECT_EQ(flops_text(1e300), "1e+282 EFLOP");
  EXPECT_EQ(count_text(NAN), "?");
  EXPECT_EQ(bytes_text(512), "512 B");
  EXPECT_EQ(bytes_text(1023.7), "1.0 KiB");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(2147483648.0), "2.0 GiB");
  EXPECT_EQ(rate_text(450e9), "450 GB/s");
  EXPECT_EQ(rate_text(1.8e12), "1800 GB/s");
}

TEST(Text, Counted) {
  EXPECT_EQ(counted(0, "file"), "0 files");
  EXPECT_EQ(counted(1, "file"), "1 file");
  EXPECT_EQ(counted(12, "file"), "12 files");
  EXPECT_EQ(counted(1, "entry", "entries"), "1 entry");
  EXPECT_EQ(counted(2, "entry", "entries"), "2 entries");
}

TEST(Text, BarsHaveTheirWidth) {
  EXPECT_EQ(bar_text(0, 6), "[>   ]");
  EXPECT_EQ(bar_text(0.5, 6), "[==> ]");
  EXPECT_EQ(bar_text(1, 6), "[====]");
  EXPECT_EQ(bar_text(7, 6), "[====]");
  EXPECT_EQ(bar_text(-1, 6), bar_text(NAN, 6));
  EXPECT_EQ(bar_text(0.5, 0), "[]");
}

TEST(Text, PrintableTextHasNoControlsAndIsUtf8) {
  EXPECT_EQ(printable_text("plain\ttext\n"), "plain\ttext\n");
  EXPECT_EQ(printable_text("na\xc3\xafve \xf0\x9f\x99\x82"), "na\xc3\xafve \xf0\x9f\x99\x82");
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(printable_text("\x1b[0m\r\x7f"), bad + "[0m" + bad + bad);
  EXPECT_EQ(printable_text(std::string_view("\0x", 2)), bad + "x");
  EXPECT_EQ(printable_text("a\xff\xfe"
                           "b\xc3"),
            "a" + bad + bad + "b" + bad);
  EXPECT_EQ(printable_text("\xc2\x9b"
                           "31m \xc2\xa0"),
            bad + "31m \xc2\xa0");
  EXPECT_EQ(printable_text(""), "");
}

TEST(Text, QuotesHideControlCharactersAndShorten) {
  EXPECT_EQ(in_quotes("a.b"), "\"a.b\"");
  EXPECT_EQ(in_quotes(std::string("\x1b[2J\0\n", 6)), "\"\\x1b[2J\\x00\\x0a\"");
  EXPECT_EQ(in_quotes(std::string(300, 'a')), "\"" + std::string(200, 'a') + "...\"");
}

}  // namespace
}  // namespace ropewalk
