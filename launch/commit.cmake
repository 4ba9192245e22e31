# cmake -DSOURCE=folder -DHEADER=file -P commit.cmake writes HEADER, which defines ROPEWALK_COMMIT as "1a2b3c4", as "1a2b3c4,
# modified" if tracked files were changed, or as "unknown" if SOURCE is not the root of a repository or git is missing. A
# header that is already correct is not rewritten, so that nothing is recompiled.
cmake_minimum_required(VERSION 3.25)

set(commit unknown)
find_program(GIT git)
if(GIT)
  # When a git hook runs this, the environment names the hook's repository, which may be another one.
  set(git ${CMAKE_COMMAND} -E env --unset=GIT_DIR --unset=GIT_WORK_TREE ${GIT} --no-optional-locks -C ${SOURCE})
  # SOURCE must be the root of its repository: a source archive unpacked inside another repository has no commit.
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
