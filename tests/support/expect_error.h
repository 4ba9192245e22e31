#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/error.h"

namespace ropewalk {

// Runs `body` and expects an exception of type E whose message contains each of `parts`.
template <typename E, typename Body>
void expect_error(const Body& body, const std::vector<std::string>& parts) {
  try {
    body();
    ADD_FAILURE() << "no error; expected one with: " << ::testing::PrintToString(parts);
  } catch (const E& error) {
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "'" << part << "' is not in: " << error.what();
    }
  }
}

}  // namespace ropewalk
