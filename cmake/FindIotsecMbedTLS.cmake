# SPDX-License-Identifier: BSD-3-Clause
#
# Finds mbedTLS 2.28 or 3.x by its files: Debian 12's package has neither a .pc file nor a CMake
# configuration. The name is ours so that it clashes with no other project's FindMbedTLS.
#
#   IOTSEC_MBEDTLS_ROOT            prefix to look in, and nowhere else, when set
#   IotsecMbedTLS::mbedcrypto      always
#   IotsecMbedTLS::mbedx509, ::mbedtls   where those libraries are installed
#   IotsecMbedTLS_VERSION, IotsecMbedTLS_HAS_PSA, IotsecMbedTLS_INCLUDE_DIR, IotsecMbedTLS_CRYPTO_LIBRARY

if(IOTSEC_MBEDTLS_ROOT)
  get_filename_component(_iotsec_mbedtls_root "${IOTSEC_MBEDTLS_ROOT}" ABSOLUTE
                         BASE_DIR "${CMAKE_SOURCE_DIR}")
  set(_iotsec_mbedtls_where PATHS "${_iotsec_mbedtls_root}" NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
else()
  set(_iotsec_mbedtls_where)
endif()
# A cached result of another root must not survive a change of the root.
if(NOT "${_IotsecMbedTLS_LAST_ROOT}" STREQUAL "${IOTSEC_MBEDTLS_ROOT}")
  unset(IotsecMbedTLS_INCLUDE_DIR CACHE)
  foreach(_name CRYPTO X509 TLS)
    unset(IotsecMbedTLS_${_name}_LIBRARY CACHE)
  endforeach()
endif()
set(_IotsecMbedTLS_LAST_ROOT "${IOTSEC_MBEDTLS_ROOT}" CACHE INTERNAL "")

find_path(IotsecMbedTLS_INCLUDE_DIR mbedtls/version.h PATH_SUFFIXES include ${_iotsec_mbedtls_where})
foreach(_pair CRYPTO:mbedcrypto X509:mbedx509 TLS:mbedtls)
  string(REPLACE ":" ";" _pair "${_pair}")
  list(GET _pair 0 _name)
  list(GET _pair 1 _file)
  find_library(IotsecMbedTLS_${_name}_LIBRARY ${_file} PATH_SUFFIXES lib lib64 ${_iotsec_mbedtls_where})
  mark_as_advanced(IotsecMbedTLS_${_name}_LIBRARY)
endforeach()
mark_as_advanced(IotsecMbedTLS_INCLUDE_DIR)

# 2.28 states its version in version.h, 3.x in build_info.h; the default configuration likewise.
set(IotsecMbedTLS_VERSION "")
set(IotsecMbedTLS_HAS_PSA OFF)
if(IotsecMbedTLS_INCLUDE_DIR)
  foreach(_header build_info.h version.h)
    set(_file "${IotsecMbedTLS_INCLUDE_DIR}/mbedtls/${_header}")
    if(NOT IotsecMbedTLS_VERSION AND EXISTS "${_file}")
      file(STRINGS "${_file}" _line REGEX "^#define MBEDTLS_VERSION_STRING +\"")
      string(REGEX REPLACE ".*\"([0-9.]+)\".*" "\\1" IotsecMbedTLS_VERSION "${_line}")
    endif()
  endforeach()
  foreach(_header mbedtls_config.h config.h)
    set(_file "${IotsecMbedTLS_INCLUDE_DIR}/mbedtls/${_header}")
    if(EXISTS "${_file}")
      file(STRINGS "${_file}" _line REGEX "^[ \t]*#define MBEDTLS_PSA_CRYPTO_C")
      if(_line)
        set(IotsecMbedTLS_HAS_PSA ON)
      endif()
    endif()
  endforeach()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(IotsecMbedTLS
  REQUIRED_VARS IotsecMbedTLS_CRYPTO_LIBRARY IotsecMbedTLS_INCLUDE_DIR
  VERSION_VAR IotsecMbedTLS_VERSION
  REASON_FAILURE_MESSAGE "Debian has it in libmbedtls-dev, -DIOTSEC_MBEDTLS_ROOT=DIR names another prefix, -DIOTSEC_WITH_MBEDTLS=OFF -DIOTSEC_WITH_PSA=OFF does without")

if(IotsecMbedTLS_FOUND)
  foreach(_pair CRYPTO:mbedcrypto X509:mbedx509 TLS:mbedtls)
    string(REPLACE ":" ";" _pair "${_pair}")
    list(GET _pair 0 _name)
    list(GET _pair 1 _file)
    if(IotsecMbedTLS_${_name}_LIBRARY AND NOT TARGET IotsecMbedTLS::${_file})
      add_library(IotsecMbedTLS::${_file} UNKNOWN IMPORTED)
      set_target_properties(IotsecMbedTLS::${_file} PROPERTIES
        IMPORTED_LOCATION "${IotsecMbedTLS_${_name}_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${IotsecMbedTLS_INCLUDE_DIR}")
    endif()
  endforeach()
  if(TARGET IotsecMbedTLS::mbedx509)
    set_target_properties(IotsecMbedTLS::mbedx509 PROPERTIES
      INTERFACE_LINK_LIBRARIES IotsecMbedTLS::mbedcrypto)
    if(TARGET IotsecMbedTLS::mbedtls)
      set_target_properties(IotsecMbedTLS::mbedtls PROPERTIES
        INTERFACE_LINK_LIBRARIES IotsecMbedTLS::mbedx509)
    endif()
  endif()
endif()
