// The verbs of the program, one file each.
#pragma once

#include "launch/command_line.h"

namespace ropewalk {

Verb prepare_verb();
Verb train_verb();
Verb evaluate_verb();
Verb import_verb();
Verb export_verb();
Verb validate_verb();
Verb plan_verb();
Verb schema_verb();
Verb tokenizer_encode_verb();
Verb tokenizer_decode_verb();
Verb tokenizer_train_verb();
Verb tokenizer_show_verb();

// The text of configs/ropewalk.proto at build time.
extern const char* const kSchemaText;

}  // namespace ropewalk
