// Part of glvq. Apache-2.0 WITH LLVM-exception.
//
// The runtime on an artefact whose code is a small C file: calls, states,
// threads, and every reason to refuse.

#include "glvq/Runtime/CpuFeatures.h"
#include "glvq/Runtime/MappedFile.h"
#include "glvq/Runtime/glvq_runtime.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <thread>
#include <unistd.h>

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// Bytes of a safetensors file with one f32 tensor.
std::string safeTensorsFile(const std::string &name,
                            const std::vector<float> &values, const json &shape,
                            const char *dtype = "F32") {
  size_t bytes = values.size() * sizeof(float);
  json header{
      {name,
       {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {0, bytes}}}}};
  std::string text = header.dump();
  text.resize((8 + text.size() + 63) / 64 * 64 - 8, ' ');
  uint64_t length = text.size();
  std::string file(reinterpret_cast<const char *>(&length), sizeof(length));
  file += text;
  file.append(reinterpret_cast<const char *>(values.data()), bytes);
  return file;
}

class Runtime : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "glvq-test-XXXXXX";
    folder = mkdtemp(pattern.data());
    fs::copy_file(GLVQ_TEST_MODEL, folder / "model.so");
    write("weights.safetensors", safeTensorsFile("w", {1, 10, 100}, {3}));
    manifest = json::parse(R"({
      "format": "glvq-artefact", "version": 1, "producer": "test",
      "target": {"device": "cpu", "triple": "", "cpu": "generic", "features": []},
      "files": {"model.so": {}, "weights.safetensors": {}},
      "model": {"vocab_size": 100, "context_length": 16},
      "entries": [
        {"name": "forward", "symbol": "glvq_entry_forward", "arguments": [
          {"role": "input", "name": "x", "dtype": "f32", "shape": ["rows", 3]},
          {"role": "weight", "name": "w", "dtype": "f32", "shape": [3]},
          {"role": "output", "name": "y", "dtype": "f32", "shape": ["rows", 3]}]},
        {"name": "decode", "symbol": "glvq_entry_decode", "arguments": [
          {"role": "input", "name": "tokens", "dtype": "i64", "shape": [1, 1]},
          {"role": "input", "name": "position", "dtype": "i64", "scalar": true},
          {"role": "state", "name": "cache", "dtype": "f32", "shape": [1, "capacity"]},
          {"role": "output", "name": "sum", "dtype": "f32", "shape": [1, 1]}]}]})");
    manifest["target"]["triple"] =
        std::string(glvq::hostArchitecture()) + "-unknown-linux-gnu";
  }
  void TearDown() override {
    glvq_artefact_close(artefact);
    fs::remove_all(folder);
  }

  void write(const std::string &name, const std::string &bytes) {
    std::ofstream(folder / name, std::ios::binary) << bytes;
  }
  /// Records sizes and checksums of the files as they are, and the manifest.
  void seal() {
    for (const auto &[name, entry] : manifest["files"].items()) {
      std::string error;
      auto file = glvq::MappedFile::open(folder / name, error);
      ASSERT_TRUE(file) << error;
      manifest["files"][name] = {{"bytes", file->bytes().size()},
                                 {"xxh64", glvq::xxh64Hex(file->bytes())}};
    }
    writeManifest();
  }
  void writeManifest() { write("manifest.json", manifest.dump()); }

  glvq_status open() {
    return glvq_artefact_open(folder.c_str(), nullptr, &artefact);
  }
  /// Opening fails with this status and a message with this text in it.
  void expectRefused(glvq_status status, const std::string &text) {
    EXPECT_EQ(open(), status);
    EXPECT_EQ(artefact, nullptr);
    EXPECT_NE(std::string(glvq_last_error()).find(text), std::string::npos)
        << "message: " << glvq_last_error() << "\nexpected: " << text;
  }

  glvq_session *makeSession(int64_t capacity = 0, int32_t threads = 0) {
    glvq_session_options options{capacity, threads};
    glvq_session *session = nullptr;
    EXPECT_EQ(glvq_session_create(artefact, &options, &session), GLVQ_OK)
        << glvq_last_error();
    return session;
  }

  /// One call of `decode`; NaN when it is refused.
  static float decode(glvq_session *session, int64_t token, int64_t position) {
    int64_t shape[2] = {1, 1};
    float sum = NAN;
    glvq_tensor in[] = {{"tokens", GLVQ_I64, 2, shape, &token},
                        {"position", GLVQ_I64, 0, nullptr, &position}};
    glvq_tensor out[] = {{"sum", GLVQ_F32, 2, shape, &sum}};
    return glvq_session_run(session, "decode", in, 2, out, 1) == GLVQ_OK ? sum
                                                                         : NAN;
  }

  fs::path folder;
  json manifest;
  glvq_artefact *artefact = nullptr;
};

//===----------------------------------------------------------------------===//
// What works
//===----------------------------------------------------------------------===//

// The entries are as the manifest says, by index and by name.
TEST_F(Runtime, DescribesEntries) {
  seal();
  ASSERT_EQ(open(), GLVQ_OK) << glvq_last_error();
  ASSERT_EQ(glvq_artefact_entry_count(artefact), 2u);
  EXPECT_EQ(glvq_artefact_entry(artefact, 2), nullptr);
  const glvq_entry *entry = glvq_artefact_find_entry(artefact, "forward");
  ASSERT_EQ(entry, glvq_artefact_entry(artefact, 0));
  glvq_argument argument;
  ASSERT_EQ(glvq_entry_argument(entry, 0, &argument), GLVQ_OK);
  EXPECT_STREQ(argument.name, "x");
  EXPECT_EQ(argument.role, GLVQ_INPUT);
  EXPECT_EQ(argument.rank, 2);
  EXPECT_EQ(argument.shape[0], -1);
  EXPECT_STREQ(argument.dimensions[0], "rows");
  EXPECT_EQ(argument.shape[1], 3);
  EXPECT_EQ(argument.dimensions[1], nullptr);
  EXPECT_EQ(glvq_entry_argument(entry, 3, &argument), GLVQ_ERROR_ARGUMENT);
  EXPECT_EQ(json::parse(glvq_artefact_model(artefact))["vocab_size"], 100);
  EXPECT_EQ(glvq_artefact_find_entry(artefact, "prefill"), nullptr);
  EXPECT_NE(std::string(glvq_last_error()).find("forward, decode"),
            std::string::npos);
}

// Every row is computed once, for any number of rows and threads.
TEST_F(Runtime, RunsInParallel) {
  seal();
  ASSERT_EQ(open(), GLVQ_OK) << glvq_last_error();
  for (int32_t threads : {1, 2, 3, 7}) {
    glvq_session *session = makeSession(0, threads);
    EXPECT_EQ(glvq_session_threads(session), threads);
    for (int64_t rows : {0, 1, 2, 5, 64, 1000}) {
      std::vector<float> x(rows * 3), y(rows * 3, NAN);
      for (size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<float>(i);
      int64_t shape[2] = {rows, 3};
      glvq_tensor in{"x", GLVQ_F32, 2, shape, x.data()};
      int32_t rank = 0;
      int64_t found[2] = {};
      ASSERT_EQ(glvq_session_output_shape(session, "forward", &in, 1, "y",
                                          &rank, found),
                GLVQ_OK);
      EXPECT_EQ(rank, 2);
      EXPECT_EQ(found[0], rows);
      EXPECT_EQ(found[1], 3);
      glvq_tensor out{"y", GLVQ_F32, 2, shape, y.data()};
      ASSERT_EQ(glvq_session_run(session, "forward", &in, 1, &out, 1), GLVQ_OK)
          << glvq_last_error();
      for (size_t i = 0; i < x.size(); ++i)
        ASSERT_EQ(y[i], x[i] * std::pow(10.f, static_cast<float>(i % 3)));
    }
    glvq_session_destroy(session);
  }
}

// States begin at zero, belong to one session, and can be reset.
TEST_F(Runtime, SessionsOwnTheirStates) {
  seal();
  ASSERT_EQ(open(), GLVQ_OK) << glvq_last_error();
  glvq_session *first = makeSession(), *second = makeSession(4);
  EXPECT_EQ(glvq_session_capacity(first), 16); // the context length
  EXPECT_EQ(glvq_session_capacity(second), 4);
  EXPECT_EQ(decode(first, 5, 0), 5);
  EXPECT_EQ(decode(first, 7, 1), 12);
  EXPECT_EQ(decode(second, 1, 3), 1);
  EXPECT_EQ(glvq_session_reset(first), GLVQ_OK);
  EXPECT_EQ(decode(first, 2, 2), 2);
  // The artefact may be closed first.
  glvq_artefact_close(artefact);
  artefact = nullptr;
  EXPECT_EQ(decode(second, 1, 2), 1);
  glvq_session_destroy(first);
  glvq_session_destroy(second);
  glvq_session_destroy(nullptr);
  glvq_artefact_close(nullptr);
}

// Two sessions on two threads do not disturb each other.
TEST_F(Runtime, SessionsRunConcurrently) {
  seal();
  ASSERT_EQ(open(), GLVQ_OK) << glvq_last_error();
  std::atomic<int> wrong{0};
  auto work = [&](int64_t token) {
    glvq_session *session = makeSession(16, 2);
    std::vector<float> x(300, static_cast<float>(token)), y(300);
    int64_t shape[2] = {100, 3};
    for (int round = 0; round < 200; ++round) {
      glvq_tensor in{"x", GLVQ_F32, 2, shape, x.data()};
      glvq_tensor out{"y", GLVQ_F32, 2, shape, y.data()};
      wrong += glvq_session_run(session, "forward", &in, 1, &out, 1) != GLVQ_OK;
      for (size_t i = 0; i < y.size(); ++i)
        wrong += y[i] != static_cast<float>(token) *
                             std::pow(10.f, static_cast<float>(i % 3));
      wrong += decode(session, token, round % 16) !=
               static_cast<float>(token * (round % 16 + 1));
    }
    glvq_session_destroy(session);
  };
  std::thread first(work, 3), second(work, 5);
  first.join();
  second.join();
  EXPECT_EQ(wrong, 0);
}

//===----------------------------------------------------------------------===//
// Calls that are refused
//===----------------------------------------------------------------------===//

TEST_F(Runtime, RefusesWrongCalls) {
  seal();
  ASSERT_EQ(open(), GLVQ_OK) << glvq_last_error();
  glvq_session *session = makeSession(8);
  float data[12] = {};
  int64_t shape[2] = {2, 3}, wide[2] = {2, 4}, more[2] = {3, 3};
  auto refused = [&](std::vector<glvq_tensor> in, std::vector<glvq_tensor> out,
                     const std::string &text) {
    EXPECT_EQ(glvq_session_run(session, "forward", in.data(), in.size(),
                               out.data(), out.size()),
              GLVQ_ERROR_ARGUMENT);
    EXPECT_NE(std::string(glvq_last_error()).find(text), std::string::npos)
        << "message: " << glvq_last_error() << "\nexpected: " << text;
  };
  glvq_tensor x{"x", GLVQ_F32, 2, shape, data},
      y{"y", GLVQ_F32, 2, shape, data};
  refused({}, {y}, "needs the input 'x': f32[rows, 3]");
  refused({x}, {}, "needs the output 'y'");
  refused({x, x}, {y}, "'x' is given twice");
  refused({x, {"z", GLVQ_F32, 2, shape, data}}, {y}, "no input 'z'; it has: x");
  refused({{"x", GLVQ_F64, 2, shape, data}}, {y},
          "is f64[2, 3], the entry takes f32[rows, 3]");
  refused({{"x", GLVQ_F32, 1, shape, data}}, {y}, "is f32[2], the entry takes");
  refused({{"x", GLVQ_F32, 2, wide, data}}, {y},
          "is f32[2, 4], the entry takes");
  refused({x}, {{"y", GLVQ_F32, 2, more, data}}, "where rows is 2");
  refused({{"x", GLVQ_F32, 2, shape, nullptr}}, {y}, "data is null");
  refused({{"x", GLVQ_F32, 2, shape, reinterpret_cast<char *>(data) + 1}}, {y},
          "not aligned");

  // What would be a wild access of a language model.
  EXPECT_TRUE(std::isnan(decode(session, 1, 8)));
  EXPECT_STREQ(
      glvq_last_error(),
      "position 8 and 1 tokens do not fit the session's capacity of 8");
  EXPECT_TRUE(std::isnan(decode(session, 1, -1)));
  EXPECT_TRUE(std::isnan(decode(session, 100, 0)));
  EXPECT_STREQ(glvq_last_error(),
               "token id 100 is not in the vocabulary of 100");
  glvq_session_destroy(session);

  glvq_session_options options{-1, 0};
  EXPECT_EQ(glvq_session_create(artefact, &options, &session),
            GLVQ_ERROR_ARGUMENT);
  options = {INT64_MAX / 2, 0};
  EXPECT_EQ(glvq_session_create(artefact, &options, &session),
            GLVQ_ERROR_MEMORY);
}

// Sizes and values beyond what the code takes for granted.
TEST_F(Runtime, HoldsCallsToTheRangesOfTheModel) {
  manifest["model"]["sizes"] = {{"rows", {1, 2}}, {"unused", {0, 0}}};
  manifest["model"]["values"] = {{"tokens", {0, 60}}};
  seal();
  ASSERT_EQ(open(), GLVQ_OK) << glvq_last_error();
  glvq_session *session = makeSession(8);
  float data[9] = {}, sums[9];
  for (int64_t rows : {0, 1, 2, 3}) {
    int64_t shape[2] = {rows, 3};
    glvq_tensor x{"x", GLVQ_F32, 2, shape, data},
        y{"y", GLVQ_F32, 2, shape, sums};
    glvq_status status = glvq_session_run(session, "forward", &x, 1, &y, 1);
    EXPECT_EQ(status, rows == 1 || rows == 2 ? GLVQ_OK : GLVQ_ERROR_ARGUMENT);
  }
  EXPECT_STREQ(glvq_last_error(),
               "input 'x': size 'rows' is 3, the model takes 1 to 2");
  EXPECT_FALSE(std::isnan(decode(session, 60, 0)));
  EXPECT_TRUE(std::isnan(decode(session, 61, 1)));
  EXPECT_STREQ(glvq_last_error(), "input 'tokens': 61 is not among 0 to 60");
  glvq_session_destroy(session);
}

//===----------------------------------------------------------------------===//
// Artefacts that are refused
//===----------------------------------------------------------------------===//

TEST_F(Runtime, RefusesWhatIsNoArtefact) {
  expectRefused(GLVQ_ERROR_IO, "manifest.json: cannot open");
  write("manifest.json", "{");
  expectRefused(GLVQ_ERROR_FORMAT, "not one of a glvq artefact");
  write("manifest.json", R"({"format": "other"})");
  expectRefused(GLVQ_ERROR_FORMAT, "not one of a glvq artefact");
}

TEST_F(Runtime, RefusesAnotherVersion) {
  manifest["version"] = 2;
  seal();
  expectRefused(GLVQ_ERROR_VERSION,
                "format version 2, this runtime reads version 1");
}

TEST_F(Runtime, RefusesAnotherMachine) {
  manifest["target"]["features"] = {"teleport"};
  seal();
  expectRefused(GLVQ_ERROR_TARGET,
                "CPU features that this machine lacks: teleport");
  manifest["target"]["triple"] = "sparc-sun-solaris";
  seal();
  expectRefused(GLVQ_ERROR_TARGET, "compiled for sparc");
  manifest["target"]["device"] = "cuda";
  seal();
  expectRefused(GLVQ_ERROR_TARGET, "device 'cuda'");
}

TEST_F(Runtime, RefusesTruncatedFiles) {
  seal();
  fs::resize_file(folder / "weights.safetensors", 70);
  expectRefused(GLVQ_ERROR_CORRUPT,
                "weights.safetensors has 70 bytes instead of");
  fs::remove(folder / "model.so");
  expectRefused(GLVQ_ERROR_IO, "model.so: cannot open");
}

TEST_F(Runtime, RefusesChangedFiles) {
  seal();
  std::fstream file(folder / "weights.safetensors",
                    std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(-1, std::ios::end);
  file.put('\x55');
  file.close();
  expectRefused(GLVQ_ERROR_CORRUPT, "weights.safetensors has another checksum");
  glvq_open_options options{/*skip_checksums=*/1};
  EXPECT_EQ(glvq_artefact_open(folder.c_str(), &options, &artefact), GLVQ_OK);
}

TEST_F(Runtime, RefusesMissingOrWrongWeights) {
  write("weights.safetensors", safeTensorsFile("v", {1, 10, 100}, {3}));
  seal();
  expectRefused(GLVQ_ERROR_WEIGHT,
                "tensor 'w' is missing, entry 'forward' needs it");
  write("weights.safetensors", safeTensorsFile("w", {1, 10}, {2}));
  seal();
  expectRefused(GLVQ_ERROR_WEIGHT,
                "tensor 'w' is F32[2], entry 'forward' needs f32[3]");
  write("weights.safetensors", safeTensorsFile("w", {1, 10, 100}, {3}, "I32"));
  seal();
  expectRefused(GLVQ_ERROR_WEIGHT, "tensor 'w' is I32[3]");
}

// Headers that lie about the file, with right checksums.
TEST_F(Runtime, RefusesCorruptSafeTensors) {
  write("weights.safetensors", "short");
  seal();
  expectRefused(GLVQ_ERROR_CORRUPT, "truncated");
  write("weights.safetensors",
        std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10));
  seal();
  expectRefused(GLVQ_ERROR_CORRUPT,
                "header of 9223372036854775807 bytes does not fit");
  write("weights.safetensors", std::string("\x02\0\0\0\0\0\0\0[]", 10));
  seal();
  expectRefused(GLVQ_ERROR_CORRUPT, "not a JSON object");
  write("weights.safetensors", safeTensorsFile("w", {1, 10, 100}, {4}));
  seal();
  expectRefused(GLVQ_ERROR_CORRUPT,
                "tensor 'w': its data has 12 bytes, its shape needs 16");
  write("weights.safetensors",
        safeTensorsFile("w", {1}, {uint64_t(1) << 62, 8}));
  seal();
  expectRefused(GLVQ_ERROR_CORRUPT, "tensor 'w': its shape overflows");
}

TEST_F(Runtime, RefusesMalformedManifests) {
  json good = manifest;
  auto refused = [&](const char *pointer, const json &value,
                     const std::string &text) {
    manifest = good;
    manifest[json::json_pointer(pointer)] = value;
    seal();
    expectRefused(GLVQ_ERROR_FORMAT, text);
  };
  refused("/entries", json::array(), "'entries' is not a list of entry points");
  refused("/entries/0/arguments/0/role", "guest", "unknown role 'guest'");
  refused("/entries/0/arguments/0/dtype", "f33", "unknown dtype 'f33'");
  refused("/entries/0/arguments/0/shape", {-3, 3},
          "a size is a number or the name");
  refused("/entries/0/arguments/1/shape", {"n"},
          "a weight cannot have the dynamic dimension");
  refused("/entries/1/arguments/2/shape", {1, "n"},
          "only dynamic dimension is 'capacity'");
  refused("/entries/0/arguments/0/name", 3, "'name' is not a string");
  refused("/model/sizes", {{"rows", {1}}},
          "'sizes' of the model does not map names");
  refused("/model/values", 7, "'values' of the model does not map names");
  manifest = good;
  manifest["entries"][0]["symbol"] = "glvq_entry_nothing";
  seal();
  expectRefused(GLVQ_ERROR_CORRUPT,
                "model.so has no symbol 'glvq_entry_nothing'");
  manifest = good;
  manifest["files"]["../escape"] = {{"bytes", 1}, {"xxh64", ""}};
  writeManifest();
  expectRefused(GLVQ_ERROR_FORMAT, "'../escape' is not a file name");
}

// The names the compiler records are names the runtime knows.
TEST(CpuFeatures, KnowsTheBaseline) {
#if defined(__x86_64__)
  EXPECT_TRUE(glvq::hostHasFeature("sse2"));
  EXPECT_TRUE(glvq::hostHasFeature("64bit"));
#endif
  EXPECT_FALSE(glvq::isCodeFeature("xsave"));
  EXPECT_FALSE(glvq::hostHasFeature("teleport"));
}

// The published test value of xxHash64 of no bytes, seed 0.
TEST(Checksums, MatchTheReference) {
  EXPECT_EQ(glvq::xxh64Hex({}), "ef46db3751d8e999");
}

} // namespace
