// Takes the place of a CUDA backend of another build, which the program must refuse.
extern "C" const char* ropewalk_cuda_interface() { return "0123456789ab"; }
