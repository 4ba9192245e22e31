# cmake -DSOURCE=folder -DHEADER=file -P commit.cmake: defines ROPEWALK_COMMIT as "1a2b3c4", "1a2b3c4, modified" where files
# under git have changed since, or "unknown" where the source is no repository of its own or there is no git. A header that
# says so already is left as it is, so that nothing is compiled again.
cmake_minimum_required(VERSION 3.25)

set(commit unknown)
find_program(GIT git)
if(GIT)
  # A hook of git's names another repository in the environment.
  set(git ${CMAKE_COMMAND} -E env --unset=GIT_DIR --unset=GIT_WORK_TREE ${GIT} --no-optional-locks -C ${SOURCE})
  # Nothing leads up to the root of the repository: a source archive in another one's folder has no commit.
  execute_process(COMMAND ${git} rev-parse --show-cdup OUTPUT_VARIABLE above RESULT_VARIABLE failed ERROR_QUIET)
  string(STRIP "${above}" above)
  if(NOT failed AND above STREQUAL "")
    execute_process(COMMAND ${git} rev-parse --short HEAD OUTPUT_VARIABLE head RESULT_VARIABLE failed ERROR_QUIET
                    OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT failed)
      execute_process(COMMAND ${git} status --porcelain --untracked-files=no OUTPUT_VARIABLE changes RESULT_VARIABLE failed
                      ERROR_QUIET)
      if(NOT failed)
        set(commit ${head})
        if(NOT changes STREQUAL "")
          string(APPEND commit ", modified")
        endif()
      endif()
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT "#pragma once\n#define ROPEWALK_COMMIT \"@commit@\"\n" @ONLY)
