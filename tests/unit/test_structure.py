#!/usr/bin/env python3
"""tools/structure finds each of its faults when it is put into the tree, and nothing else."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ('include', 'lib', 'core', 'executors', 'sandbox', 'tools', 'web')


class Structure(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        for name in FOLDERS:
            shutil.copytree(os.path.join(ROOT, name), os.path.join(self.folder.name, name))

    def append(self, name, text):
        with open(os.path.join(self.folder.name, name), 'a') as file:
            file.write(text)

    def faults(self):
        program = [sys.executable, os.path.join(self.folder.name, 'tools/structure')]
        run = subprocess.run(program, stdout=subprocess.PIPE, universal_newlines=True)
        faults = run.stdout.splitlines()[:-1]
        self.assertEqual(run.returncode, 1 if faults else 0)
        return faults

    def test_the_tree(self):
        self.assertEqual(self.faults(), [])

    def test_circle_inside_a_part(self):
        self.append('core/journal/journal_schema.c', '\nint extra(struct journal *j)\n{\n\treturn db_open(j, 0);\n}\n')
        circle = 'core/journal/journal_open.c, core/journal/journal_schema.c'
        self.assertEqual(self.faults(), ['a circle between files: ' + circle])

    def test_call_upwards(self):
        self.append('core/topic.c', '#include "daemon.h"\n')
        self.assertIn('core/topic.c: uses core/daemon.h, which stands above it', self.faults()[0])

    def test_one_static_name_in_two_files(self):
        for name in 'heap', 'topic':
            self.append('core/%s.c' % name, '\nstatic int same_thing(int n)\n{\n\treturn n;\n}\n')
        self.assertEqual(self.faults(), ['core/heap.c, core/topic.c: each has a static same_thing()'])

    def test_one_word_in_a_long_file(self):
        self.append('core/dispatcher.c', '\nstatic int thing(int n)\n{\n\treturn n;\n}\n')
        self.assertIn('core/dispatcher.c: thing() is one word', self.faults()[0])

    def test_comments(self):
        """A pool that names an engine, and half a sentence."""
        self.append('executors/pool/room.c', '/* as many as a Docker host has */\n')
        self.append('core/heap.c', '#define MORE 4 /* ... and so many */\n')
        stranger, half = self.faults()
        self.assertIn('names Docker, which this folder must not know', stranger)
        self.assertIn('half a sentence', half)


class FunctionLengths(unittest.TestCase):
    def long_function(self, lines):
        with tempfile.NamedTemporaryFile('w', suffix='.c') as file:
            file.write('static int thing_count(void)\n{\n%s\treturn 0;\n}\n' % ('\tn++;\n' * (lines - 3)))
            file.flush()
            program = [sys.executable, os.path.join(ROOT, 'tools/function-lengths'), file.name]
            run = subprocess.run(program, stdout=subprocess.PIPE, universal_newlines=True)
            return run.returncode, run.stdout

    def test_the_most_that_is_allowed(self):
        self.assertEqual(self.long_function(50)[0], 0)

    def test_one_line_more(self):
        status, output = self.long_function(51)
        self.assertEqual(status, 1)
        self.assertIn('thing_count has 51 lines', output)


if __name__ == '__main__':
    unittest.main()
