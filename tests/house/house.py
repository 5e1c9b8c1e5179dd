"""The rules of the house, as far as a machine can hold them.

Each rule takes the path of a file below the repository and its text, and gives (line, message) pairs;
`check_repository` runs them all. Run as a program, prints `file:line: message` and exits 1 where a rule is broken.
"""

import pathlib
import re
import sys

CODE = (".cc", ".h")
MAX_SOURCE_LINES = 800
MAX_HEADER_LINES = 300
MAX_README_LINES = 40
MAX_COLUMNS = 110

# Know no thread, clock, file or socket: everything of that kind is given to them.
PURE_FOLDERS = ("raft", "mvcc", "lease", "auth", "cluster", "member", "v2store")

# The edges to libraries that throw.
MAY_CATCH = ("src/config/config_file.cc", "src/http/")

# Programs speak on standard output; everything else logs.
MAY_PRINT = ("src/cmd/", "src/base/check.cc")

# What measures may let time pass.
MAY_SLEEP = ("bench/",)


def is_test(path):
    return (path.endswith(("_test.cc", "_fuzzer.cc", "_fuzz.cc", "_bench.cc")) or "/testing" in path
            or not path.startswith("src/"))


def without_comments_and_strings(text):
    """The same lines with comments and the contents of literals blanked."""

    def blank(match):
        token = match.group(0)
        if token.startswith("/"):
            return "".join("\n" if c == "\n" else " " for c in token)
        if token.startswith("R"):
            return "".join("\n" if c == "\n" else "_" for c in token)
        return token[0] + "_" * (len(token) - 2) + token[-1]

    pattern = (
        r'R"([^(\s]*)\((?:.|\n)*?\)\1"'  # raw string
        r"|//[^\n]*|/\*(?:.|\n)*?\*/"  # comments
        r'|"(?:\\.|[^"\\\n])*"'  # string
        r"|(?<![0-9a-zA-Z])'(?:\\.|[^'\\\n])+'"  # character, not a digit separator
    )
    return re.sub(pattern, blank, text)


def banned(pattern, message, applies=lambda path: True, keep_literals=False):
    """A rule that a pattern does not occur in code."""
    compiled = re.compile(pattern)

    def rule(path, text):
        if not path.endswith(CODE) or not applies(path):
            return
        code = text if keep_literals else without_comments_and_strings(text)
        for number, line in enumerate(code.split("\n"), 1):
            if compiled.search(line):
                yield number, message

    return rule


def starts(path, prefixes):
    return any(path.startswith(prefix) for prefix in prefixes)


def production(path):
    return path.startswith("src/") and not is_test(path)


def pure(path):
    return production(path) and starts(path, tuple(f"src/{folder}/" for folder in PURE_FOLDERS))


STYLE_RULES = [
    banned(r"\bsleep_(for|until)\b|\b(u|nano)?sleep\s*\(", "sleep is banned, use a wait for a condition with a bound",
           lambda path: not starts(path, MAY_SLEEP)),
    banned(r"\b(TODO|FIXME|XXX)\b", "TODO is banned, use working code or docs/limits.md", keep_literals=True),
    banned(r"^\s*#\s*if\s+0\b", "#if 0 is banned, use git to keep old code"),
    banned(r"\bstd::(cout|cerr|clog)\b|(?<![\w:.>])f?printf\s*\(", "printing is banned, use KVORUM_LOG",
           lambda path: production(path) and not starts(path, MAY_PRINT)),
    banned(r"\bthrow\b(?!\(\))", "throw is banned, use absl::Status or KVORUM_CHECK", production),
    banned(r"\b(try\s*\{|catch\s*\()", "catch is banned but at the edge to a library that throws, use absl::Status",
           lambda path: production(path) and not starts(path, MAY_CATCH)),
    banned(r"(?<![\w_])assert\s*\(", "assert is banned, use KVORUM_CHECK"),
    banned(r"\bstd::(recursive_|shared_)?mutex\b", "std::mutex is banned, use absl::Mutex with ABSL_GUARDED_BY"),
    banned(r"\bstd::condition_variable\b", "std::condition_variable is banned, use absl::CondVar"),
    banned(r"\b(s?rand|random)\s*\(\s*\)|\bstd::(mt19937|random_device|default_random_engine)\b",
           "unseeded randomness is banned, use kvorum::Random"),
    banned(r"^\s*using\s+namespace\b", "using namespace is banned in headers, use names in full",
           lambda path: path.endswith(".h")),
    banned(r"\bDISABLED_\w|\bGTEST_SKIP\b", "a skipped test is banned, use one that runs or none",
           lambda path: "interop" not in path),
    banned(r'"/tmp/', "a fixed path under /tmp is banned, use a temporary directory", is_test, keep_literals=True),
    banned(r'#include\s+"[^"]*(_test\.|/testing/)', "test code in production is banned, use a seam",
           lambda path: production(path) and not path.startswith("src/sim/"), keep_literals=True),
    banned(r"\bstrcpy\s*\(|\bstrcat\s*\(|\bsprintf\s*\(|\bgets\s*\(", "an unbounded copy is banned, use std::string",
           production),
]

PURE_RULES = [
    banned(r"#include\s+<(thread|fstream|iostream|filesystem|random|future|ctime|time\.h|unistd\.h|fcntl\.h|sys/\S+|"
           r"netinet/\S+|pthread\.h)>", "this header is banned in a pure folder, use what the owner gives",
           pure, keep_literals=True),
    banned(r"\b(steady_clock|system_clock|high_resolution_clock)::now\b|\bSystemClock\s*\(|\bclock_gettime\s*\(|"
           r"\bgettimeofday\s*\(|\babsl::Now\b", "a system clock is banned in a pure folder, use the Clock given", pure),
    banned(r"\bstd::(thread|jthread|async)\b|\bThreadExecutor\b",
           "a thread is banned in a pure folder, use the Executor given", pure),
    banned(r"\bPosixEnv\s*\(|\bSystemEntropy\s*\(|\bopen\s*\(|\bfopen\s*\(|\bgetenv\s*\(",
           "a system call is banned in a pure folder, use what the owner gives", pure),
]


def length_rule(path, text):
    if not path.endswith(CODE):
        return
    lines = text.count("\n")
    limit = MAX_HEADER_LINES if path.endswith(".h") and not is_test(path) else MAX_SOURCE_LINES
    if lines > limit:
        yield lines, f"{lines} lines are banned, use files of at most {limit}"


def layout_rule(path, text):
    if not path.endswith(CODE + (".py", ".md", ".cmake", ".txt", ".sh")):
        return
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "a last line without newline is banned, use one newline at the end"
    for number, line in enumerate(text.split("\n"), 1):
        if line.rstrip() != line:
            yield number, "trailing blanks are banned, use none"
        if path.endswith(CODE) and "\t" in line:
            yield number, "a tab is banned, use two blanks"


def header_rule(path, text):
    if path.endswith(".h") and not re.search(r"^#pragma once$", text, re.M):
        yield 1, "a header without a guard is banned, use #pragma once"


TEXT_RULES = STYLE_RULES + PURE_RULES + [length_rule, layout_rule, header_rule]


def read_floors(text):
    """Which folder may use which, from cmake/Floors.cmake: {"wal": {"base", "raft"}, …}."""
    floors = {}
    for name, uses in re.findall(r'set\(KVORUM_USES_(\w+)\s+"([^"]*)"\)', text):
        floors[name] = {use for use in uses.split(";") if use}
    return floors


def folder_of(path):
    """The folder of src/ that a path inside it is in, as Floors.cmake names it; None for the top."""
    parts = path.split("/")
    if len(parts) < 2:
        return None
    if parts[0] in ("api", "cmd", "proxy") and len(parts) > 2:
        return f"{parts[0]}_{parts[1]}"
    return parts[0]


def include_rule(floors):
    def rule(path, text):
        if not path.startswith("src/") or not path.endswith(CODE):
            return
        folder = folder_of(path[len("src/"):])
        allowed = floors.get(folder)
        if allowed is None:
            yield 1, f"a folder that is not in cmake/Floors.cmake is banned, use a line for {folder} there"
            return
        for number, line in enumerate(text.split("\n"), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            used = folder_of(match.group(1))
            if used in floors and used != folder and used not in allowed:
                yield number, f"{folder}/ including {used}/ is banned, use what cmake/Floors.cmake allows"

    return rule


def check_readmes(root):
    """Every folder with a target says what it is."""
    for target in sorted(root.glob("src/**/CMakeLists.txt")):
        folder = target.parent.relative_to(root)
        if str(folder) == "src":
            continue
        readme = target.parent / "README.md"
        if not readme.exists():
            yield f"{folder}:1: a folder without README.md is banned, use one of up to {MAX_README_LINES} lines"
        elif readme.read_text().count("\n") > MAX_README_LINES:
            yield f"{folder}/README.md:{MAX_README_LINES}: a README over {MAX_README_LINES} lines is banned, use docs/"


def sources(root):
    for folder in ("src", "tests", "bench", "cmake", "proto", "docs", "scripts"):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.suffix in (".cc", ".h", ".py", ".md", ".cmake", ".txt", ".sh"):
                if "corpus" not in path.parts:
                    yield path


def check_text(path, text, rules):
    return [f"{path}:{line}: {message}" for rule in rules for line, message in rule(path, text)]


def check_repository(root):
    rules = TEXT_RULES + [include_rule(read_floors((root / "cmake/Floors.cmake").read_text()))]
    problems = []
    for path in sources(root):
        problems += check_text(str(path.relative_to(root)), path.read_text(errors="replace"), rules)
    return problems + list(check_readmes(root))


if __name__ == "__main__":
    found = check_repository(pathlib.Path(sys.argv[1]))
    print("\n".join(found))
    sys.exit(1 if found else 0)
