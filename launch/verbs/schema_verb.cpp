#include "launch/process/output.h"
#include "launch/verbs/verbs.h"

namespace ropewalk {

Verb schema_verb() {
  return {.name = "schema",
          .summary = "print every field of the configuration: meaning, unit, default",
          .about =
              "Prints the schema of the configuration. A configuration file is protobuf text of the message Config:\n"
              "`training { steps: 1000 }` sets the same field as --set training.steps=1000.",
          .examples = {"ropewalk schema > fields.txt", "ropewalk schema | grep -i window"},
          .run = [](const Arguments&, const Launcher&) {
            print(kSchemaText);
            return ExitCode::kDone;
          }};
}

}  // namespace ropewalk
