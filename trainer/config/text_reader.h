// The reader behind config_text.h: a recursive descent over protobuf's tokenizer, driven by the schema.
#pragma once

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/message.h>

#include <functional>
#include <string>
#include <vector>

#include "trainer/config/problems.h"

namespace ropewalk {

inline constexpr int kMostEntries = 10'000;  // of a list: more kinds of layers than any model has layers

class TextReader : private google::protobuf::io::ErrorCollector {
 public:
  using Message = google::protobuf::Message;
  using FieldDescriptor = google::protobuf::FieldDescriptor;
  using Locate = std::function<std::string(int line, int column)>;  // both from 0

  TextReader(google::protobuf::io::ZeroCopyInputStream& stream, Locate locate, Problems& problems);

  // The whole stream as the fields of a message, or as the value of one field. False after an error of syntax.
  bool read_message_text(Message& message);
  bool read_value_text(Message& message, const FieldDescriptor& field, const std::string& path);

 private:
  using Tokenizer = google::protobuf::io::Tokenizer;

  void read_fields(Message& message, const std::string& path, std::string_view end);
  void read_field(Message& message, const std::string& path);
  void read_known_field(Message& message, const FieldDescriptor& field, const std::string& path,
                        const std::string& where);
  void read_value(Message& message, const FieldDescriptor& field, const std::string& path);
  void read_entries(Message& message, const FieldDescriptor& field, const std::string& path);
  void read_entry(Message& message, const FieldDescriptor& field, const std::string& path);
  void read_braces(Message& message, const std::string& path);
  void skip_value();

  // One scalar: its text, and the setting of the field. False if the tokens do not spell a value of the field's type.
  struct Scalar {
    Tokenizer::TokenType type;
    bool negative = false;
    std::string text;  // of a string: the bytes it stands for
  };
  bool take_scalar(Scalar& scalar);
  static bool set_scalar(Message& message, const FieldDescriptor& field, const Scalar& scalar);

  // A bracket that is open, so that the end of the text can be told where it lacks one.
  struct Bracket {
    std::string symbol;
    int line, column;
  };
  void open_bracket();   // the one that is current
  void close_bracket();  // likewise

  void AddError(int line, int column, const std::string& message) override;  // of the tokenizer
  void syntax_error(const std::string& expected);
  void type_problem(const FieldDescriptor& field, const std::string& path, const std::string& value);
  void value_problem(const FieldDescriptor& field, const std::string& path, const Scalar& scalar);
  std::string here() { return locate_(tokenizer_.current().line, tokenizer_.current().column); }
  bool at(std::string_view symbol);
  bool take(std::string_view symbol);
  bool at_end() { return tokenizer_.current().type == Tokenizer::TYPE_END; }

  Locate locate_;
  Problems& problems_;
  bool broken_ = false;           // after an error of syntax nothing more is read
  bool in_second_group_ = false;  // of a group that is set twice: its fields add to the first one's, or replace them
  std::vector<Bracket> open_;
  Tokenizer tokenizer_;
};

}  // namespace ropewalk
