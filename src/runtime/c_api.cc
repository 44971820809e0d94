// The C interface (pare/pare.h) on Session: arguments checked, exceptions kept inside, the message
// of a failure kept for the thread it happened in.
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <span>
#include <string>
#include <utility>

#include "pare/pare.h"
#include "pare/session.h"
#include "pare/version.h"

struct pare_session {
  pare::Session session;
};

namespace {

// C callers get the message by a second call, so it has to stay somewhere: one for each thread.
std::string& last_error() {
  thread_local std::string message;
  return message;
}

static_assert(PARE_INVALID_ARGUMENT == static_cast<int>(pare::StatusCode::kInvalidArgument));
static_assert(PARE_UNSUPPORTED == static_cast<int>(pare::StatusCode::kUnsupported));
static_assert(PARE_INTERNAL == static_cast<int>(pare::StatusCode::kInternal));

// Runs `body`, which returns a Status, and turns whatever comes out of it into a code.
template <typename Body>
pare_status guarded(Body&& body) noexcept {
  try {
    pare::Status status;
    try {
      status = body();
    } catch (const std::bad_alloc&) {
      status = pare::out_of_memory("no memory left");
    } catch (const std::exception& error) {
      status = pare::internal_error(error.what());
    }
    if (status.ok()) return PARE_OK;
    last_error() = status.message();
    return static_cast<pare_status>(status.code());
  } catch (...) {  // no memory even for the message
    return PARE_OUT_OF_MEMORY;
  }
}

pare::Status is_null(const char* what) {
  return pare::invalid_argument(std::string(what) + " is NULL");
}

// Whether a struct of the caller's reaches to the end of its first version.
pare::Status check_size(size_t found, size_t expected, const char* type) {
  if (found >= expected) return pare::ok_status();
  return pare::invalid_argument(std::string(type) + ".struct_size: expected " +
                                std::to_string(expected) + ", found " + std::to_string(found));
}

pare::Status load(const char* path, const pare_options* options, pare_session** session) {
  if (session == nullptr) return is_null("session");
  *session = nullptr;
  if (path == nullptr) return is_null("path");
  pare::SessionOptions o;
  if (options != nullptr) {
    PARE_RETURN_IF_ERROR(check_size(options->struct_size, sizeof *options, "pare_options"));
    o.threads = options->threads;
    if (options->precision != nullptr) o.precision = options->precision;
    if (options->cpu_level != nullptr) o.cpu_level = options->cpu_level;
  }
  PARE_ASSIGN_OR_RETURN(pare::Session loaded, pare::Session::load(path, o));
  *session = new pare_session{std::move(loaded)};
  return pare::ok_status();
}

pare::Status info(const pare_session* session, pare_model_info* to) {
  if (session == nullptr) return is_null("session");
  if (to == nullptr) return is_null("info");
  PARE_RETURN_IF_ERROR(check_size(to->struct_size, sizeof *to, "pare_model_info"));
  const pare::ModelInfo& from = session->session.info();
  to->name = from.name.c_str();
  to->channels = from.channels;
  to->height = from.height;
  to->width = from.width;
  to->class_count = from.class_count;
  to->parameters = from.parameters;
  return pare::ok_status();
}

pare::Status memory(pare_session* session, int64_t count, pare_memory_use* to) {
  if (session == nullptr) return is_null("session");
  if (to == nullptr) return is_null("memory");
  PARE_RETURN_IF_ERROR(check_size(to->struct_size, sizeof *to, "pare_memory_use"));
  PARE_ASSIGN_OR_RETURN(const pare::MemoryUse use, session->session.memory(count));
  to->weights_bytes = use.weights_bytes;
  to->arena_bytes = use.arena_bytes;
  to->scratch_bytes = use.scratch_bytes;
  return pare::ok_status();
}

}  // namespace

extern "C" {

int32_t pare_api_version(void) { return PARE_API_VERSION; }

const char* pare_library_version(void) { return PARE_VERSION; }

const char* pare_status_name(pare_status status) {
  return pare::status_code_name(static_cast<pare::StatusCode>(status));
}

const char* pare_last_error(void) {
  try {
    return last_error().c_str();
  } catch (...) {
    return "";
  }
}

pare_status pare_load(const char* path, const pare_options* options, pare_session** session) {
  return guarded([&] { return load(path, options, session); });
}

void pare_free(pare_session* session) { delete session; }

pare_status pare_info(const pare_session* session, pare_model_info* to) {
  return guarded([&] { return info(session, to); });
}

const char* pare_class_name(const pare_session* session, int64_t index) {
  if (session == nullptr) return nullptr;
  const auto& classes = session->session.info().classes;
  if (index < 0 || static_cast<size_t>(index) >= classes.size()) return nullptr;
  return classes[static_cast<size_t>(index)].c_str();
}

pare_status pare_run(pare_session* session, const uint8_t* pixels, size_t pixels_bytes,
                     int64_t count, float* scores, size_t scores_count) {
  return guarded([&]() -> pare::Status {
    if (session == nullptr) return is_null("session");
    if (pixels == nullptr) return is_null("pixels");
    if (scores == nullptr) return is_null("scores");
    return session->session.run({pixels, pixels_bytes}, count, {scores, scores_count});
  });
}

pare_status pare_memory(pare_session* session, int64_t count, pare_memory_use* to) {
  return guarded([&] { return memory(session, count, to); });
}

}  // extern "C"
