#include "records/record.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/file.h"

namespace pare {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{1} << 30;

// Removes a last line that has no newline: what a crash or a full disk left of an earlier append.
Status remove_cut_line(const std::string& path) {
  if (!file_exists(path)) return ok_status();
  PARE_ASSIGN_OR_RETURN(const int64_t size, file_size(path));
  std::ifstream file(path, std::ios::binary);
  int64_t end = size;
  char c = '\n';
  while (end > 0 && file.seekg(end - 1) && file.get(c) && c != '\n') --end;
  if (!file) return io_error(path + ": cannot be read");
  if (end == size) return ok_status();
  std::error_code error;
  std::filesystem::resize_file(path, static_cast<uintmax_t>(end), error);
  return error ? io_error(fmt::format("{}: {}", path, error.message())) : ok_status();
}

}  // namespace

std::string record_line(const Record& record) {
  Json json = record.fields;
  json["kind"] = record.kind;
  json["context"] = record.context;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Record> parse_record(const std::string& line, const std::string& where) {
  Json json = Json::parse(line, nullptr, false);
  if (json.is_discarded()) return corrupt(where + ": not a line of JSON");
  if (!json.is_object()) return corrupt(where + ": expected a JSON object");
  Record record;
  const auto kind = json.find("kind");
  if (kind == json.end() || !kind->is_string()) return corrupt(where + ": field 'kind' is missing");
  record.kind = kind->get<std::string>();
  const auto context = json.find("context");
  if (context != json.end()) record.context = *context;
  json.erase("kind");
  json.erase("context");
  record.fields = std::move(json);
  PARE_RETURN_IF_ERROR(check_record(record).with_context(where));
  return record;
}

Status append_record(const std::string& path, const Record& record) {
  PARE_RETURN_IF_ERROR(check_record(record));
  PARE_RETURN_IF_ERROR(remove_cut_line(path));
  return append_line(path, record_line(record));
}

Result<std::vector<Record>> read_records(const std::string& path,
                                         std::vector<std::string>* warnings) {
  PARE_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kMaxFileBytes));
  std::vector<Record> records;
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    ++number;
    const std::string where = fmt::format("{}:{}", path, number);
    const size_t newline = text.find('\n', begin);
    if (newline == std::string::npos) {
      if (warnings != nullptr) {
        warnings->push_back(where + ": the last line was cut short and is left out");
      }
      break;
    }
    const std::string line = text.substr(begin, newline - begin);
    begin = newline + 1;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    PARE_ASSIGN_OR_RETURN(Record record, parse_record(line, where));
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace pare
