// Which of the instruction sets that the vector code is compiled for this machine uses.
#pragma once

namespace ropewalk {

// "AVX-512", "AVX2", "SSE4", ...; "plain C++" for the fallback without vectors.
const char* instruction_set();

}  // namespace ropewalk
