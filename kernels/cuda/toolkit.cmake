# Finds nvcc, CUDA's libraries and NCCL: in a CUDA root, or where Python's wheels put them (site-packages/nvidia/cu13
# and nvidia/nccl, whose libraries have versions in their names). Looks for the libraries beside nvcc first, because
# others may have another version. Enables the language CUDA and defines CUDA::cudart, CUDA::cublasLt and, if found,
# NCCL::nccl. Returns without them if there is no nvcc.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  file(GLOB wheels $ENV{VIRTUAL_ENV}/lib/python3*/site-packages/nvidia/cu*/bin
                   $ENV{HOME}/.local/lib/python3*/site-packages/nvidia/cu*/bin)
  find_program(ROPEWALK_NVCC nvcc PATHS /usr/local/cuda/bin ${wheels})
  if(ROPEWALK_NVCC)
    set(ENV{CUDACXX} ${ROPEWALK_NVCC})  # check_language() runs another CMake, which sees only PATH and CUDACXX
  endif()
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  return()
endif()

set(CMAKE_CUDA_ARCHITECTURES ${ROPEWALK_CUDA_ARCHITECTURES})
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
enable_language(CUDA)
# CMake 3.25 does not know that nvcc 13 supports C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)

get_filename_component(cuda_root ${CMAKE_CUDA_COMPILER} REALPATH)
get_filename_component(cuda_root ${cuda_root}/../.. ABSOLUTE)
string(REGEX MATCH "^[0-9]+" cuda_version ${CMAKE_CUDA_COMPILER_VERSION})

function(cuda_library NAME VERSION)
  string(TOUPPER ROPEWALK_${NAME}_LIBRARY variable)
  set(names ${NAME} lib${NAME}.so.${VERSION})
  find_library(${variable} NAMES ${names} NO_DEFAULT_PATH
               PATHS ${cuda_root}/lib64 ${cuda_root}/lib ${cuda_root}/targets/x86_64-linux/lib ${cuda_root}/../nccl/lib)
  find_library(${variable} NAMES ${names})  # packages of a Linux distribution
  if(${variable})
    add_library(${ARGV2} SHARED IMPORTED GLOBAL)
    set_target_properties(${ARGV2} PROPERTIES IMPORTED_LOCATION ${${variable}}
                          INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES}")
  endif()
endfunction()
cuda_library(cudart ${cuda_version} CUDA::cudart)
cuda_library(cublasLt ${cuda_version} CUDA::cublasLt)
if(NOT TARGET CUDA::cudart OR NOT TARGET CUDA::cublasLt)
  message(FATAL_ERROR "nvcc is ${CMAKE_CUDA_COMPILER}, but libcudart or libcublasLt of CUDA ${cuda_version} was not "
                      "found; install them, or give their paths: -DROPEWALK_CUDART_LIBRARY= -DROPEWALK_CUBLASLT_LIBRARY=")
endif()

cuda_library(nccl 2 NCCL::nccl)
find_path(ROPEWALK_NCCL_INCLUDE nccl.h NO_DEFAULT_PATH PATHS ${cuda_root}/include ${cuda_root}/../nccl/include)
find_path(ROPEWALK_NCCL_INCLUDE nccl.h)
if(TARGET NCCL::nccl AND ROPEWALK_NCCL_INCLUDE)
  target_include_directories(NCCL::nccl INTERFACE ${ROPEWALK_NCCL_INCLUDE})
  set(nccl ${ROPEWALK_NCCL_LIBRARY})
else()
  set(nccl "none: runs of several ranks on CUDA devices need parallel.device_transport STAGED")
endif()
message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION} in ${cuda_root}, for ${CMAKE_CUDA_ARCHITECTURES}; NCCL: ${nccl}")
