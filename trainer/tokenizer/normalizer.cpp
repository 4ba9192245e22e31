#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>

#include "kernels/error.h"
#include "trainer/text/format.h"
#include "trainer/tokenizer/pre_tokenizer.h"
