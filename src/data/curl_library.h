// The five functions of libcurl that are used, found at run time (dlopen), so that the program does
// not need the library to start.
#ifndef PARE_DATA_CURL_LIBRARY_H_
#define PARE_DATA_CURL_LIBRARY_H_

#define CURL_DISABLE_TYPECHECK  // its macros stand in the way of pointers of the same names
#include <curl/curl.h>

#include "pare/status.h"

namespace pare {

struct CurlLibrary {
  decltype(&::curl_easy_init) easy_init = nullptr;
  CURLcode (*easy_setopt)(CURL*, CURLoption, ...) = nullptr;
  CURLcode (*easy_getinfo)(CURL*, CURLINFO, ...) = nullptr;
  decltype(&::curl_easy_perform) easy_perform = nullptr;
  decltype(&::curl_easy_cleanup) easy_cleanup = nullptr;
  decltype(&::curl_easy_strerror) easy_strerror = nullptr;

  // Says which package brings libcurl where it is missing. It stays open until the program ends.
  static Result<CurlLibrary> open();
};

}  // namespace pare

#endif  // PARE_DATA_CURL_LIBRARY_H_
