#include "support/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/time/time.h"
#include "base/check.h"
#include "base/random.h"

namespace kvorum::test {
namespace {

std::string ReadWholeFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool CanBind(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return bound;
}

}  // namespace

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "kvorum-test-XXXXXX").string();
  KVORUM_CHECK(mkdtemp(pattern.data()) != nullptr, "cannot make {}", pattern);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

int FreePort() {
  // Below the range from which the system takes ports for outgoing connections. The lock, held until this
  // process ends, keeps tests that run side by side from choosing the same port before either has bound it.
  constexpr int kFirst = 20'000;
  constexpr int kCount = 12'000;
  const std::filesystem::path locks = std::filesystem::temp_directory_path() / "kvorum-test-ports";
  std::filesystem::create_directories(locks);
  for (int attempt = 0; attempt < 1'000; ++attempt) {
    const int port = kFirst + static_cast<int>(SystemEntropy() % kCount);
    const int lock = open((locks / std::to_string(port)).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0) continue;
    if (flock(lock, LOCK_EX | LOCK_NB) == 0 && CanBind(port)) return port;  // `lock` stays open on purpose
    close(lock);
  }
  KVORUM_CHECK(false, "no free port");
  return 0;
}

Process::Process(const std::vector<std::string>& argv,
                 const std::map<std::string, std::string>& environment) {
  int fds[2];
  KVORUM_CHECK(pipe2(fds, O_CLOEXEC) == 0, "pipe");
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);

  pid_ = fork();
  KVORUM_CHECK(pid_ >= 0, "fork");
  if (pid_ == 0) {
    setpgid(0, 0);
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
    dup2(fds[1], STDOUT_FILENO);
    dup2(fds[1], STDERR_FILENO);
    execvp(arguments[0], arguments.data());
    dprintf(STDERR_FILENO, "cannot run %s: %m\n", arguments[0]);
    _exit(127);
  }
  close(fds[1]);
  reader_ = std::thread([this, fd = fds[0]] { ReadOutput(fd); });
}

Process::~Process() {
  if (!waited_) {
    Signal(SIGKILL);
    Wait();
  }
  reader_.join();
}

void Process::Signal(int signal) const { kill(pid_, signal); }

void Process::ReadOutput(int fd) {
  char buffer[64 << 10];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    absl::MutexLock lock(&mutex_);
    if (n <= 0) {
      ended_ = true;
      break;
    }
    output_.append(buffer, n);
  }
  close(fd);
}

std::string Process::output() const {
  absl::MutexLock lock(&mutex_);
  return output_;
}

bool Process::OutputHas(const std::string& text) const { return output_.find(text) != std::string::npos; }

bool Process::WaitForOutput(const std::string& text) {
  absl::MutexLock lock(&mutex_);
  auto done = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return ended_ || OutputHas(text); };
  mutex_.AwaitWithTimeout(absl::Condition(&done), absl::FromChrono(kPatience));
  return OutputHas(text);
}

int Process::Wait() {
  if (!waited_) {
    while (waitpid(pid_, &wait_status_, 0) < 0 && errno == EINTR) {
    }
    waited_ = true;
  }
  return wait_status_;
}

CommandResult Shell(const std::string& command, const std::map<std::string, std::string>& environment) {
  const TempDir dir;
  const std::string out = dir / "out";
  const std::string err = dir / "err";
  Process process({"timeout", "-k", "5", std::to_string(kPatience.count()), "sh", "-c",
                   "{ " + command + "\n} >" + Quote(out) + " 2>" + Quote(err)},
                  environment);
  const int status = process.Wait();
  CommandResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = ReadWholeFile(out);
  result.err = ReadWholeFile(err);
  return result;
}

std::string Quote(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

bool Eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    poll(nullptr, 0, 5);
  }
  return true;
}

}  // namespace kvorum::test
