# budgetc_add_model: a compiled ONNX model as a library that targets link against.
#
#   find_package(budgetc CONFIG REQUIRED)     # with -Dbudgetc_DIR="$(budgetc --cmakedir)"
#   budgetc_add_model(digits SPEC models/spec.yaml [TARGET pi] [LOCKED] [SET budgets.size=8KiB ...])
#   target_link_libraries(app PRIVATE digits)
#
# The spec's own budgets decide whether the build succeeds. The model is compiled again when its spec, or anything that
# the spec names, has changed; what links against it is built again when the library or its header is another.
#
#   SPEC    the spec, relative to the current source folder.
#   TARGET  which of the spec's targets. Without it: the spec's only one; or "host" where CMake builds for this machine;
#           or, from a toolchain file, the one whose kind is CMAKE_SYSTEM_PROCESSOR.
#   LOCKED  build what the lock file beside the spec says, without a search.
#   SET     values that replace those of the spec, as `budgetc compile --set` takes them.

if(CMAKE_VERSION VERSION_LESS 3.20)
  message(FATAL_ERROR "budgetc needs CMake 3.20 or newer, and this is ${CMAKE_VERSION}")
endif()

if(NOT BUDGETC_EXECUTABLE)
  # Beside the Python that this file was installed for, then wherever programs are.
  get_filename_component(_budgetc_here "${CMAKE_CURRENT_LIST_DIR}" REALPATH)
  find_program(BUDGETC_EXECUTABLE budgetc
    HINTS "${_budgetc_here}/../../../../../bin" "$ENV{VIRTUAL_ENV}/bin"
    NO_CMAKE_FIND_ROOT_PATH
    DOC "the budgetc command")
endif()
if(NOT BUDGETC_EXECUTABLE)
  set(budgetc_FOUND FALSE)
  set(budgetc_NOT_FOUND_MESSAGE
    "the command budgetc is not on the PATH: activate its environment, or set BUDGETC_EXECUTABLE")
  return()
endif()

# Asks budgetc where a spec's library will lie and which of its targets fits; sets _budgetc_<KEY> in the caller.
function(_budgetc_describe spec)
  set(_wanted "")
  if(BM_TARGET)
    list(APPEND _wanted --target "${BM_TARGET}")
  elseif(CMAKE_CROSSCOMPILING)
    list(APPEND _wanted --processor "${CMAKE_SYSTEM_PROCESSOR}")
  endif()
  foreach(_value IN LISTS BM_SET)
    list(APPEND _wanted --set "${_value}")
  endforeach()
  execute_process(
    COMMAND "${BUDGETC_EXECUTABLE}" layout "${spec}" ${_wanted}
    OUTPUT_VARIABLE _said ERROR_VARIABLE _why RESULT_VARIABLE _code
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_STRIP_TRAILING_WHITESPACE)
  if(NOT _code EQUAL 0)
    message(FATAL_ERROR "budgetc_add_model(${BM_NAME}): ${_why}")
  endif()
  foreach(_key target library header kind)
    string(JSON _value GET "${_said}" "${_key}")
    set(_budgetc_${_key} "${_value}" PARENT_SCOPE)
  endforeach()
endfunction()

function(budgetc_add_model BM_NAME)
  cmake_parse_arguments(PARSE_ARGV 1 BM "LOCKED" "SPEC;TARGET" "SET")
  if(NOT BM_SPEC)
    message(FATAL_ERROR "budgetc_add_model(${BM_NAME}): SPEC is missing")
  endif()
  if(BM_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "budgetc_add_model(${BM_NAME}): unknown arguments: ${BM_UNPARSED_ARGUMENTS}")
  endif()
  get_filename_component(_spec "${BM_SPEC}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
  if(NOT EXISTS "${_spec}")
    message(FATAL_ERROR "budgetc_add_model(${BM_NAME}): ${_spec} does not exist")
  endif()
  # What the library is called stands in the spec: another one is configured anew.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${_spec}")
  _budgetc_describe("${_spec}")

  set(_out "${CMAKE_CURRENT_BINARY_DIR}/${BM_NAME}.budgetc")
  set(_folder "${_out}/${_budgetc_target}")
  set(_options --target "${_budgetc_target}" --quiet)
  if(BM_LOCKED)
    list(APPEND _options --locked)
  endif()
  foreach(_value IN LISTS BM_SET)
    list(APPEND _options --set "${_value}")
  endforeach()
  file(MAKE_DIRECTORY "${_folder}") # an imported target's include folder must exist
  add_custom_command(
    OUTPUT "${_out}/stamp.json"
    BYPRODUCTS "${_folder}/${_budgetc_library}" "${_folder}/${_budgetc_header}"
    COMMAND "${BUDGETC_EXECUTABLE}" compile "${_spec}" ${_options}
      --out "${_out}" --depfile "${_out}.d"
    DEPENDS "${_spec}"
    DEPFILE "${_out}.d"
    COMMENT "Compiling the model ${BM_NAME} to its budgets"
    VERBATIM)
  add_custom_target(${BM_NAME}_budgetc DEPENDS "${_out}/stamp.json")

  if(NOT _budgetc_library MATCHES "\\.(so|a)$")
    message(FATAL_ERROR
      "budgetc_add_model(${BM_NAME}): ${_budgetc_library} is nothing that a program links against")
  endif()
  if(_budgetc_kind STREQUAL "static")
    add_library(${BM_NAME} STATIC IMPORTED GLOBAL)
    find_package(Threads QUIET)
    set_property(TARGET ${BM_NAME} PROPERTY INTERFACE_LINK_LIBRARIES m ${CMAKE_THREAD_LIBS_INIT})
  else()
    add_library(${BM_NAME} SHARED IMPORTED GLOBAL)
    set_property(TARGET ${BM_NAME} PROPERTY IMPORTED_NO_SONAME TRUE)
  endif()
  set_target_properties(${BM_NAME} PROPERTIES
    IMPORTED_LOCATION "${_folder}/${_budgetc_library}"
    INTERFACE_INCLUDE_DIRECTORIES "${_folder}"
    BUDGETC_FOLDER "${_folder}")
  add_dependencies(${BM_NAME} ${BM_NAME}_budgetc)
endfunction()
