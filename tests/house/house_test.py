"""Tests of the rules of the house: each refuses what it is for, and nothing else."""

import pathlib
import tempfile
import unittest

import house

FLOORS = house.read_floors('set(KVORUM_USES_base "")\nset(KVORUM_USES_raft "base")\nset(KVORUM_USES_wal "base;raft")\n'
                           'set(KVORUM_USES_api_v3\n    "base;wal")\n')


def problems(path, text):
    return house.check_text(path, text, house.TEXT_RULES + [house.include_rule(FLOORS)])


class StyleRules(unittest.TestCase):
    def assert_banned(self, path, code, word):
        found = problems(path, code + "\n")
        self.assertEqual(len(found), 1, found)
        self.assertIn(word, found[0])
        self.assertTrue(found[0].startswith(f"{path}:1: "), found[0])

    def assert_fine(self, path, code):
        self.assertEqual(problems(path, code + "\n"), [])

    def test_each_rule_refuses(self):
        for code, word in [
            ("std::this_thread::sleep_for(x);", "sleep"),
            ("usleep(5);", "sleep"),
            ("// " + "TODO: later", "TODO"),
            ("#if 0", "#if 0"),
            ("std::cout << x;", "printing"),
            ("printf(x);", "printing"),
            ("throw Bad();", "throw"),
            ("} catch (...) {", "catch"),
            ("assert(x);", "KVORUM_CHECK"),
            ("std::mutex m;", "absl::Mutex"),
            ("std::condition_variable c;", "CondVar"),
            ("int x = rand();", "Random"),
            ('#include "wal/testing/x.h"', "test code"),
            ("strcpy(a, b);", "unbounded"),
            ("\tint x;", "tab"),
            ("int x; ", "trailing"),
        ]:
            with self.subTest(code=code):
                self.assert_banned("src/wal/x.cc", code, word)

    def test_words_in_comments_and_literals_are_no_code(self):
        self.assert_fine("src/wal/x.cc", "// throws nothing, never calls sleep_for(x)")
        self.assert_fine("src/wal/x.cc", 'f("throw; std::cout", \'"\', 1\'000);')
        self.assert_fine("src/wal/x.cc", 'f(R"(catch (x))");')

    def test_similar_words_are_not_banned(self):
        for code in ["static_assert(x);", "asleep = true;", "fmt::format(x);", "snprintf(a, 1, b);", "rand_(x);"]:
            with self.subTest(code=code):
                self.assert_fine("src/wal/x.cc", code)

    def test_tests_may_do_some_of_it(self):
        self.assert_fine("src/wal/x_test.cc", "throw 1;")
        self.assert_banned("src/wal/x_test.cc", 'Open("/tmp/x");', "/tmp")
        self.assert_banned("src/wal/x_test.cc", "TEST(A, DISABLED_B) {", "skipped")

    def test_edges_may_catch_and_programs_may_print(self):
        found = house.check_text("src/config/config_file.cc", "} catch (const E& e) {\n", house.TEXT_RULES)
        self.assertEqual(found, [])
        self.assertEqual(house.check_text("src/cmd/kvorum/main.cc", "std::cout << x;\n", house.TEXT_RULES), [])

    def test_headers(self):
        self.assertEqual(len(problems("src/wal/x.h", "int x;\n")), 1)
        self.assert_banned("src/wal/x.h", "using namespace std;\n#pragma once", "using namespace")

    def test_lengths(self):
        self.assertEqual(problems("src/wal/x.cc", "x\n" * house.MAX_SOURCE_LINES), [])
        self.assertEqual(len(problems("src/wal/x.cc", "x\n" * (house.MAX_SOURCE_LINES + 1))), 1)
        header = "#pragma once\n" + "x\n" * house.MAX_HEADER_LINES
        self.assertEqual(len(problems("src/wal/x.h", header)), 1)

    def test_the_last_line_ends(self):
        self.assertEqual(len(problems("src/wal/x.cc", "int x;")), 1)


class PureRules(unittest.TestCase):
    def test_what_a_pure_folder_may_not(self):
        for code in ["#include <thread>", "#include <sys/socket.h>", "auto t = std::chrono::steady_clock::now();",
                     "Use(SystemClock());", "std::thread t;", "PosixEnv().Exists(x);"]:
            with self.subTest(code=code):
                self.assertEqual(len(problems("src/raft/x.cc", code + "\n")), 1)
                self.assertEqual(problems("src/wal/x.cc", code + "\n"), [])
                self.assertEqual(problems("src/raft/x_test.cc", code + "\n"), [])


class IncludeRule(unittest.TestCase):
    def test_the_list_is_read(self):
        self.assertEqual(FLOORS["wal"], {"base", "raft"})
        self.assertEqual(FLOORS["api_v3"], {"base", "wal"})

    def test_only_lower_floors(self):
        self.assertEqual(problems("src/wal/x.cc", '#include "raft/x.h"\n#include "wal/y.h"\n#include <raft/z>\n'), [])
        found = problems("src/raft/x.cc", '#include "wal/x.h"\n')
        self.assertEqual(len(found), 1)
        self.assertIn("raft/ including wal/", found[0])
        self.assertEqual(len(problems("src/raft/x_test.cc", '#include "wal/x.h"\n')), 1)

    def test_nested_folders(self):
        self.assertEqual(problems("src/api/v3/x.cc", '#include "wal/x.h"\n#include "api/v3/y.h"\n'), [])
        self.assertEqual(len(problems("src/api/v3/x.cc", '#include "raft/x.h"\n')), 1)
        self.assertEqual(len(problems("src/wal/x.cc", '#include "api/v3/x.h"\n')), 1)

    def test_a_folder_without_a_line_is_refused(self):
        self.assertEqual(len(problems("src/new/x.cc", "int x;\n")), 1)

    def test_libraries_are_not_ours(self):
        self.assertEqual(problems("src/raft/x.cc", '#include "absl/status/status.h"\n'), [])


class Readmes(unittest.TestCase):
    def test_each_target_has_a_short_one(self):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            folder = root / "src" / "wal"
            folder.mkdir(parents=True)
            (folder / "CMakeLists.txt").write_text("")
            self.assertEqual(len(list(house.check_readmes(root))), 1)
            (folder / "README.md").write_text("x\n" * house.MAX_README_LINES)
            self.assertEqual(list(house.check_readmes(root)), [])
            (folder / "README.md").write_text("x\n" * (house.MAX_README_LINES + 1))
            self.assertEqual(len(list(house.check_readmes(root))), 1)


if __name__ == "__main__":
    unittest.main()
