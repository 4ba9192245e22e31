// A dataset with masked targets (targets.h), for a stage: its documents, packed into sequences.
#pragma once

#include <memory>
#include <string>

#include "trainer/data/samples.h"
#include "trainer/data/targets.h"

namespace ropewalk {

// Validation takes the documents that begin in the last data.validation_fraction of the tokens, training those before.
// order: as of WindowSamples. length_field: the field with the sequence length, for messages. Throws DataError if a
// part has no document, or none with a target, or one that is too long and data.long_samples is REFUSE.
Dataset make_packed_dataset(std::shared_ptr<const IndexedDataset> file, std::shared_ptr<const TargetMask> mask,
                            const DataConfig& data, const Stage& stage, const std::string& order,
                            const std::string& length_field);

}  // namespace ropewalk
