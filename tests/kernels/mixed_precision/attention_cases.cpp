// Head sizes of 64 and 128 run on every backend.
#include <algorithm>

#include "tests/kernels/mixed_precision/attention.h"

namespace ropewalk {
namespace {

const std::vector<AttentionCase> kCases = {
    {"Causal", 2, 2, 64, 0, 70, {{0, 70}}, {}, {}},
    {"HeadSize128", 2, 1, 128, 0, 70, {{0, 70}}, {}, {}},
    {"ThreeHeadsToOne", 6, 2, 64, 0, 130, {{0, 130}}, {}, {}},
    {"EightHeadsToOne", 8, 1, 64, 0, 33, {{0, 33}}, {}, {}},
    {"OneToken", 2, 1, 64, 0, 1, {{0, 1}}, {}, {}},
    {"WholeTiles", 1, 1, 64, 0, 192, {{0, 192}}, {}, {}},
    {"Window", 2, 1, 64, 0, 200, {{0, 200}}, 17, {}},
    {"WideWindow", 2, 1, 64, 0, 260, {{0, 260}}, 130, {}},
    // Its exact dq and dk are 0: only the rounding error of do v^T - delta is left.
    {"WindowOfOne", 1, 1, 64, 0, 70, {{0, 70}}, 1, {}, 1.0},
    {"WindowOfTiles", 4, 1, 64, 0, 150, {{0, 150}}, 64, {}},
    {"Documents", 2, 2, 64, 0, 150, {{0, 150}}, {}, {0, 3, 4, 63, 127, 149}},
    {"DocumentsAndWindow", 2, 1, 64, 0, 150, {{0, 150}}, 30, {0, 50, 64}},
    {"RingOfThree", 2, 1, 64, 100, 60, {{40, 60}, {100, 60}, {0, 40}}, {}, {}},
    {"HaloAndChunk", 3, 1, 64, 130, 70, {{130, 70}, {99, 31}}, 32, {}},
    // The visits of a rank of four with chunks 1 and 6, in the order of its ring.
    {"RingOfTwoChunks",
     4,
     2,
     64,
     Positions(70, 70, 280),
     140,
     {{Positions(70, 70, 280), 140}, {Positions(0), 70}, {Positions(140, 70, 70), 140}},
     {},
     {}},
    {"WideHeadsRingOfTwoChunks",
     3,
     1,
     128,
     Positions(70, 70, 280),
     140,
     {{Positions(210, 0, 0), 140}, {Positions(70, 70, 280), 140}},
     {},
     {0, 20, 75, 300, 430}},
    // Key tiles in the gap of a row tile, which its rows do not see.
    {"WindowBeforeAndAfterAGap", 1, 1, 64, Positions(50, 30, 500), 64, {{0, 600}}, 100, {}},
    {"WindowOverTwoChunks", 2, 1, 64, Positions(100, 90, 60), 150, {{Positions(100, 90, 60), 150}}, 100, {0, 110, 240}},
    {"KeysFarBehind", 1, 1, 64, 300, 64, {{300, 64}, {270, 10}}, 50, {}},
    {"FiveHeadsToOne", 5, 1, 64, 0, 41, {{0, 41}}, 12, {0, 20}},
    {"TwelveHeadsToOne", 12, 1, 64, 0, 37, {{0, 37}}, {}, {}},
    {"ThirtyTwoHeadsToOne", 32, 1, 64, 0, 19, {{0, 19}}, {}, {}},
    {"WideHeadsWindowAndDocuments", 3, 1, 128, 0, 150, {{0, 150}}, 70, {0, 63, 100}},
    {"WideHeadsRing", 4, 2, 128, 100, 60, {{40, 60}, {100, 60}, {0, 40}}, {}, {}},
    {"WideHeadsHalo", 2, 1, 128, 130, 70, {{130, 70}, {99, 31}}, 32, {}},
    // So many key tiles that their stages in shared memory are reused many times.
    {"LongPast", 4, 1, 64, 1500, 50, {{0, 1550}}, {}, {}},
    {"WideHeadsLongPast", 2, 1, 128, 1000, 70, {{0, 1070}}, {}, {}},
    {"ThreeKeyHeads", 6, 3, 64, 0, 150, {{0, 150}}, {}, {}},
    {"FiveWideKeyHeads", 5, 5, 128, 0, 140, {{0, 140}}, 40, {}},
    {"ThirtyTwoWideHeadsToOne", 32, 1, 128, 0, 19, {{0, 19}}, 6, {0, 9}},
    {"LargeScores", 2, 1, 64, 200, 200, {{0, 400}}, {}, {}, 0.1, 8},
    {"WideHeadsLargeScores", 2, 1, 128, 200, 200, {{0, 400}}, {}, {}, 0.1, 8},
    {"PieceThatNobodySees", 1, 1, 64, 0, 40, {{0, 40}, {40, 40}, {80, 8}}, {}, {}},
    // Other head sizes, which end within vectors, tiles and pairs of them; lengths that are odd.
    {"HeadSize2", 3, 3, 2, 0, 151, {{0, 151}}, {}, {}},
    {"HeadSize16", 2, 1, 16, 0, 201, {{0, 201}}, {}, {}},
    {"HeadSize20", 4, 2, 20, 0, 161, {{0, 161}}, {}, {}},
    {"HeadSize48RingOfThree", 2, 1, 48, 100, 61, {{40, 60}, {100, 61}, {0, 40}}, {}, {}},
    {"HeadSize80WindowAndDocuments", 2, 1, 80, 0, 129, {{0, 129}}, 33, {0, 1, 2, 50, 95, 96, 97, 128}},
    {"HeadSize96RingOfTwoChunks",
     4,
     2,
     96,
     Positions(70, 70, 280),
     140,
     {{Positions(70, 70, 280), 140}, {Positions(0), 70}, {Positions(140, 70, 70), 140}},
     {},
     {}},
    {"HeadSize256", 2, 1, 256, 0, 131, {{0, 131}}, {}, {}},
    {"HeadSize24Halo", 4, 2, 24, 130, 70, {{130, 70}, {64, 66}, {20, 44}}, 90, {}},
    {"HeadSize20WindowBeforeAndAfterAGap", 2, 2, 20, Positions(50, 30, 500), 64, {{0, 600}}, 100, {}},
    {"OneQuery", 8, 2, 80, 299, 1, {{0, 300}}, {}, {}},
    {"OneQueryInPieces", 8, 1, 64, 299, 1, {{0, 101}, {101, 199}}, 250, {}},
    {"TwoQueries", 6, 1, 20, 97, 2, {{0, 99}}, {}, {}},
    {"OneKey", 6, 2, 48, 5, 43, {{5, 1}}, {}, {}, 1.0},
    {"SmallWindowOfOne", 2, 1, 48, 0, 71, {{0, 71}}, 1, {}, 1.0},
    {"WindowBeyondTheLength", 2, 1, 80, 0, 150, {{0, 150}}, 1000, {}},
    {"TwelveSmallHeadsToOne", 12, 1, 16, 0, 101, {{0, 101}}, {}, {}},
    {"FortyHeadsToOne", 40, 1, 20, 0, 37, {{0, 37}}, {}, {}},
    {"HundredThirtyHeadsToOne", 130, 1, 16, 0, 29, {{0, 29}}, 7, {}},
    {"HeadSize80LargeScores", 2, 1, 80, 200, 200, {{0, 400}}, {}, {}, 0.1, 8},
    {"HeadSize48LargeScoresInPieces", 4, 2, 48, 100, 100, {{150, 50}, {0, 77}, {77, 73}}, {}, {0, 31, 120}, 0.1, 8},
    {"RowsThatSeeNothing", 4, 2, 64, 50, 60, {{80, 60}}, {}, {}, 0.1, 1, 0.5},
    {"HeadSize20RowsThatSeeNothing", 3, 1, 20, 50, 60, {{0, 40}, {80, 60}}, 30, {0, 75}, 0.1, 1, 0.5},
};

}  // namespace

std::vector<AttentionCase> attention_cases() {
  const BackendLimits limits = limits_under_test();
  const auto& sizes = limits.head_sizes;
  std::vector<AttentionCase> cases;
  std::copy_if(kCases.begin(), kCases.end(), std::back_inserter(cases), [&](const AttentionCase& c) {
    return c.H / c.G <= limits.most_grouped_heads &&
           (sizes.empty() || std::find(sizes.begin(), sizes.end(), c.K) != sizes.end());
  });
  return cases;
}

std::string name_of_attention_case(const testing::TestParamInfo<std::tuple<std::string, AttentionCase>>& test) {
  const auto& [form, given] = test.param;
  return form + "_" + given.name;
}

}  // namespace ropewalk
