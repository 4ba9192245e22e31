// Preloaded: raises SIGPROF 1000 times per second of CPU time, with a handler on the stack of the running thread, as
// profilers do. At the end each rank prints the number of signals to stderr.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static volatile long handled;

static void handle(int signal) {
  (void)signal;
  volatile char below[2048];
  for (size_t i = 0; i < sizeof below; ++i) below[i] = 0x5a;
  ++handled;
}

static int is_ropewalk(void) {
  extern char* program_invocation_short_name;
  return strcmp(program_invocation_short_name, "ropewalk") == 0;
}

__attribute__((constructor)) static void begin(void) {
  if (!is_ropewalk()) return;  // the library is loaded into mpirun too
  struct sigaction action = {0};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;
  sigaction(SIGPROF, &action, NULL);
  const struct itimerval every = {{0, 1000}, {0, 1000}};
  setitimer(ITIMER_PROF, &every, NULL);
}

__attribute__((destructor)) static void end(void) {
  if (is_ropewalk()) fprintf(stderr, "%ld signals of the profiler were handled\n", handled);
}
