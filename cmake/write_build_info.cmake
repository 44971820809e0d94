# Run at every build (cmake -P): writes OUTPUT from TEMPLATE with the commit of SOURCE, only if it changed.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD
                OUTPUT_VARIABLE PARE_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET
                RESULT_VARIABLE failed)
if(failed)
  set(PARE_COMMIT "unknown")
else()
  execute_process(COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no
                  OUTPUT_VARIABLE changes ERROR_QUIET)
  if(changes)
    string(APPEND PARE_COMMIT "+changes")
  endif()
endif()
configure_file(${TEMPLATE} ${OUTPUT} @ONLY)
