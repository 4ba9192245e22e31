// The verbs of the program, each in a file of its own.
#pragma once

#include "launch/command_line.h"

namespace ropewalk {

Verb prepare_verb();
Verb train_verb();
Verb evaluate_verb();
Verb validate_verb();
Verb plan_verb();
Verb schema_verb();

// configs/ropewalk.proto, as it was when the program was built.
extern const char* const kSchemaText;

}  // namespace ropewalk
