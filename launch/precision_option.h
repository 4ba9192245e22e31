// The option --precision of the verbs that compute with a model.
#pragma once

#include <string>
#include <vector>

#include "launch/command_line.h"

namespace ropewalk {

// `otherwise`: what computes if the option is not given, for the help.
Option precision_option(const std::string& otherwise);

// The values of --set, and the assignment that --precision stands for, if it is given: "training.precision=BF16".
// Throws ConfigurationError for an unknown precision, or if --set sets training.precision, too.
std::vector<std::string> settings_with_precision(const Arguments& arguments);

}  // namespace ropewalk
